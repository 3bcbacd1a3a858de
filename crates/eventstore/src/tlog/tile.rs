//! Tiles: the hashes of a tree in rows of up to 256 (C2SP tlog-tiles).

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::str::FromStr;

use super::encoding::decimal;
use super::hash::{Hash, HashError};

/// How many hashes a full tile has, and how many entries a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// How many levels of the tree one tile stands for: `2^8` is [`TILE_WIDTH`].
pub(super) const TILE_HEIGHT: u32 = 8;
/// The highest level that a path may name.
const LEVEL_LIMIT: u64 = 63;

/// Which tile, and how much of it.
///
/// The tile holds the roots of `width` perfect subtrees of `256^level` leaves each, from leaf
/// `index * 256^(level + 1)` on. It displays as its path, such as `tile/0/x001/x234/067.p/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// The level: 0 for hashes of leaves, each further one for roots of full tiles of the one
    /// below. A log that counts its entries in 64 bits has levels 0 to 7.
    pub level: u8,
    /// The place in the level, from 0 on.
    pub index: u64,
    /// How many hashes, from 1 to 256. Less than 256 is a partial tile, at the right edge.
    pub width: u16,
}

/// A path that is no tile's and no bundle's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the path of a tile")]
pub struct PathError;

/// A tile that should be there and is not, or has fewer hashes than its width says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing")]
pub struct MissingTile(pub TileId);

/// A tile: its place and its hashes, as many as its width says.
///
/// To be stored under level and index: hashes at the right edge are only ever added, so a wider
/// tile replaces a narrower one of the same place and still serves who asks for the narrower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    id: TileId,
    hashes: Vec<Hash>,
}

/// From where tiles are read.
pub trait Tiles {
    /// The hashes of a tile: as many as its width says, or more if it has grown since; nothing if
    /// there is no such tile.
    fn tile(&self, id: TileId) -> Option<Vec<Hash>>;
}

/// The hashes of a tile, exactly as many as its width says.
pub(super) fn read(id: TileId, tiles: &dyn Tiles) -> Result<Vec<Hash>, MissingTile> {
    let mut hashes = tiles.tile(id).ok_or(MissingTile(id))?;
    if hashes.len() < id.width.into() {
        return Err(MissingTile(id));
    }
    hashes.truncate(id.width.into());
    Ok(hashes)
}

/// Tiles in memory, by level and index, each as wide as it was last put in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TileSet(BTreeMap<(u8, u64), Vec<Hash>>);

impl TileId {
    /// The tile at this place in a tree of `size` leaves; nothing if the tree has none there.
    #[must_use]
    pub fn within(level: u8, index: u64, size: u64) -> Option<Self> {
        let hashes = size.checked_shr(TILE_HEIGHT * u32::from(level)).unwrap_or(0);
        let start = index.checked_mul(TILE_WIDTH.into())?;
        let width = hashes.saturating_sub(start).min(TILE_WIDTH.into());
        let width = u16::try_from(width).ok().filter(|width| *width > 0)?;
        Some(Self { level, index, width })
    }

    /// Whether it has all the hashes it can have.
    #[must_use]
    pub fn is_full(self) -> bool {
        self.width >= TILE_WIDTH
    }

    /// Its path below the log's prefix: `tile/<level>/<index>`, with `.p/<width>` if it is partial.
    #[must_use]
    pub fn path(self) -> String {
        format!("tile/{}/{}", self.level, place(self.index, self.width))
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

impl FromStr for TileId {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        let below = path.strip_prefix("tile/").ok_or(PathError)?;
        let (level, below) = below.split_once('/').ok_or(PathError)?;
        let level = decimal(level).filter(|level| *level <= LEVEL_LIMIT).ok_or(PathError)?;
        let level = u8::try_from(level).map_err(|_| PathError)?;
        let (index, width) = from_place(below).ok_or(PathError)?;
        Ok(Self { level, index, width })
    }
}

/// The end of a path: `x001/x234/067` for index 1,234,067, then `.p/<width>` unless it is full.
pub(super) fn place(index: u64, width: u16) -> String {
    let mut path = format!("{:03}", index % 1_000);
    let mut rest = index / 1_000;
    while rest > 0 {
        path.insert_str(0, &format!("x{:03}/", rest % 1_000));
        rest /= 1_000;
    }
    if width < TILE_WIDTH {
        // Writing to a string cannot fail.
        let _ = write!(path, ".p/{width}");
    }
    path
}

/// Index and width, if the end of a path is spelt as [`place`] spells it.
pub(super) fn from_place(path: &str) -> Option<(u64, u16)> {
    let (number, width) = match path.split_once(".p/") {
        Some((number, width)) => (number, decimal(width)?.try_into().ok()?),
        None => (path, TILE_WIDTH),
    };
    let mut index = 0_u64;
    for part in number.split('/') {
        let digits = part.strip_prefix('x').unwrap_or(part).parse::<u16>().ok()?;
        index = index.checked_mul(1_000)?.checked_add(digits.into())?;
    }
    // Whatever was read too leniently (signs, zeros, a missing `x`) is not spelt like this.
    (width > 0 && place(index, width) == path).then_some((index, width))
}

impl Tile {
    /// A tile of these hashes, which it is as wide as; nothing if they are none or over 256.
    #[must_use]
    pub fn new(level: u8, index: u64, hashes: Vec<Hash>) -> Option<Self> {
        let width = u16::try_from(hashes.len()).ok()?;
        let fits = (1..=TILE_WIDTH).contains(&width);
        fits.then_some(Self { id: TileId { level, index, width }, hashes })
    }

    /// Its place and width.
    #[must_use]
    pub fn id(&self) -> TileId {
        self.id
    }

    /// Its hashes, from left to right.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Its hashes one after the other, as tiles are stored and served.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
    }

    /// A tile from its bytes, the opposite of [`Self::to_bytes`]. [`HashError`] if they are not
    /// 1 to 256 hashes.
    pub fn from_bytes(level: u8, index: u64, bytes: &[u8]) -> Result<Self, HashError> {
        let hashes = bytes.chunks(Hash::BYTES).map(Hash::try_from).collect::<Result<_, _>>()?;
        Self::new(level, index, hashes).ok_or(HashError)
    }
}

impl TileSet {
    /// Puts a tile in, in place of the one that was there.
    pub fn insert(&mut self, tile: Tile) {
        self.0.insert((tile.id.level, tile.id.index), tile.hashes);
    }
}

impl Extend<Tile> for TileSet {
    fn extend<I: IntoIterator<Item = Tile>>(&mut self, tiles: I) {
        for tile in tiles {
            self.insert(tile);
        }
    }
}

impl FromIterator<Tile> for TileSet {
    fn from_iter<I: IntoIterator<Item = Tile>>(tiles: I) -> Self {
        let mut set = Self::default();
        set.extend(tiles);
        set
    }
}

impl Tiles for TileSet {
    fn tile(&self, id: TileId) -> Option<Vec<Hash>> {
        self.0.get(&(id.level, id.index)).cloned()
    }
}
