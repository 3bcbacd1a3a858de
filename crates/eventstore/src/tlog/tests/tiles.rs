//! Names and bytes of tiles and entry bundles.

use proptest::prelude::*;

use super::super::{
    BundleError, BundleId, ENTRY_LIMIT, Hash, HashError, Tile, TileId, decode_bundle, encode_bundle,
};
use super::leaves;

fn tile(level: u8, index: u64, width: u16) -> TileId {
    TileId { level, index, width }
}

#[test]
fn paths_are_as_in_the_examples_of_the_format() {
    assert_eq!(tile(0, 1_234_067, 256).path(), "tile/0/x001/x234/067");
    assert_eq!(tile(3, 1_234_067, 1).path(), "tile/3/x001/x234/067.p/1");
    assert_eq!(tile(63, 0, 255).path(), "tile/63/000.p/255");
    assert_eq!(tile(0, 999, 256).path(), "tile/0/999");
    assert_eq!(tile(0, 1_000, 256).path(), "tile/0/x001/000");
    assert_eq!(tile(0, u64::MAX, 256).path(), "tile/0/x018/x446/x744/x073/x709/x551/615");
    assert_eq!(BundleId { index: 1_234_067, width: 256 }.path(), "tile/entries/x001/x234/067");
    assert_eq!(BundleId { index: 0, width: 8 }.path(), "tile/entries/000.p/8");
}

#[test]
fn other_spellings_of_a_path_are_refused() {
    let wrong = [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile/0/000/",
        "tile/00/000",
        "tile/+1/000",
        "tile/64/000",
        "tile/256/000",
        "tile/x/000",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000",
        "tile/0/x000/067",
        "tile/0/001/067",
        "tile/0/x001/x067",
        "tile/0/x01/067",
        "tile/0/-01",
        "tile/0/+01",
        "tile/0/ 01",
        "tile/0/x001//067",
        "tile/0/xx01/067",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000.p/1.p/1",
        "tile/0/000.p/65537",
        "tile/entries/000",
        "Tile/0/000",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/x999/x446/x744/x073/x709/x551/615",
    ];
    for path in wrong {
        assert!(path.parse::<TileId>().is_err(), "{path}");
    }
    for path in ["tile/0/000", "tile/entries/0", "tile/entries/000.p/0", "tile/entries/x000/000"] {
        assert!(path.parse::<BundleId>().is_err(), "{path}");
    }
}

#[test]
fn a_tile_of_a_tree_is_as_wide_as_the_tree_makes_it() {
    let width = |level, index, size| TileId::within(level, index, size).map(|id| id.width);
    assert_eq!(width(0, 0, 0), None);
    assert_eq!(width(0, 0, 1), Some(1));
    assert_eq!(width(0, 273, 70_000), Some(112));
    assert_eq!(width(0, 272, 70_000), Some(256));
    assert_eq!(width(0, 274, 70_000), None);
    assert_eq!(width(1, 1, 70_000), Some(17));
    assert_eq!(width(2, 0, 70_000), Some(1));
    assert_eq!(width(3, 0, 70_000), None);
    assert_eq!(width(7, 0, u64::MAX), Some(255));
    assert_eq!(width(8, 0, u64::MAX), None);
    assert_eq!(width(255, 0, u64::MAX), None);
    assert_eq!(width(0, u64::MAX, u64::MAX), None);
}

#[test]
fn a_tile_is_its_hashes_one_after_the_other() {
    let hashes = leaves(3);
    let tile = Tile::new(1, 2, hashes.clone()).unwrap();
    let bytes = tile.to_bytes();
    assert_eq!(bytes.len(), 3 * Hash::BYTES);
    assert_eq!(bytes[32..64], *hashes[1].as_bytes());
    assert_eq!(Tile::from_bytes(1, 2, &bytes), Ok(tile));
    assert_eq!(Tile::from_bytes(1, 2, &bytes[1..]), Err(HashError));
    assert_eq!(Tile::from_bytes(1, 2, &[]), Err(HashError));
    assert_eq!(Tile::from_bytes(1, 2, &[0; 257 * 32]), Err(HashError));
    assert!(Tile::from_bytes(1, 2, &[0; 256 * 32]).unwrap().id().is_full());
}

#[test]
fn a_bundle_is_entries_after_their_lengths() {
    let bytes = encode_bundle(&["ab", "", "c"]).unwrap();
    assert_eq!(bytes, b"\x00\x02ab\x00\x00\x00\x01c");
    assert_eq!(decode_bundle(&bytes).unwrap(), [b"ab".as_slice(), b"", b"c"]);
    for cut in [1, 3, 5, 8] {
        assert_eq!(decode_bundle(&bytes[..cut]), Err(BundleError::Truncated), "{cut} bytes");
    }
}

#[test]
fn an_entry_of_more_than_65535_bytes_is_refused() {
    let entries = [vec![7; ENTRY_LIMIT], vec![7; ENTRY_LIMIT + 1]];
    assert_eq!(ENTRY_LIMIT, 65_535);
    let bytes = encode_bundle(&entries[..1]).unwrap();
    assert_eq!(decode_bundle(&bytes).unwrap(), [&entries[0]]);
    let too_large = BundleError::EntryTooLarge { nth: 1, size: 65_536 };
    assert_eq!(encode_bundle(&entries), Err(too_large));
}

#[test]
fn a_bundle_has_no_more_than_256_entries() {
    assert!(encode_bundle(&[[0_u8; 0]; 256]).is_ok());
    assert_eq!(encode_bundle(&[[0_u8; 0]; 257]), Err(BundleError::TooMany));
    assert!(decode_bundle(&[0; 512]).is_ok());
    assert_eq!(decode_bundle(&[0; 514]), Err(BundleError::TooMany));
}

proptest! {
    #[test]
    fn every_path_is_read_as_it_was_written(level in 0_u8..64, index: u64, width in 1_u16..=256) {
        let id = tile(level, index, width);
        prop_assert_eq!(id.path().parse(), Ok(id));
        let bundle = BundleId { index, width };
        prop_assert_eq!(bundle.path().parse(), Ok(bundle));
    }

    #[test]
    fn every_bundle_is_read_as_it_was_written(
        entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..40),
    ) {
        let bytes = encode_bundle(&entries).unwrap();
        prop_assert_eq!(decode_bundle(&bytes).unwrap(), entries);
    }

    #[test]
    fn bytes_that_are_read_as_a_bundle_are_the_bundle(bytes in prop::collection::vec(0_u8..4, 0..60)) {
        if let Ok(entries) = decode_bundle(&bytes) {
            prop_assert_eq!(encode_bundle(&entries).unwrap(), bytes);
        }
    }
}
