//! The keys of subjects.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use domain::subject::Subject;
use domain::{Id, Tenant};
use sqlx::PgPool;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::seal::{Key, mac};
use crate::Error;

/// How long a key is held before it is looked for again. Whoever reads the whole log hears of an
/// erasure at once; this is for those who do not.
const HELD: Duration = Duration::from_mins(1);

/// How many keys are held; beyond it all are dropped and read again on demand.
const CAPACITY: usize = 10_000;

/// What nobody in particular is called: what is personal and no subject's is sealed under the key of
/// this name, one for each tenant. No person can be called so.
const NOBODY: &str = "";

const NONCE: usize = 12;

/// The keys of all subjects, each sealed under the master key.
///
/// A subject has a random id. What the person is called is kept as a hash that only the master key
/// can make, and not at all once they are erased.
pub struct Keyring {
    pool: PgPool,
    wrap: Aes256GcmSiv,
    names: Zeroizing<[u8; 32]>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    keys: HashMap<Whose, (Option<Key>, Instant)>,
    names: HashMap<(Id<Tenant>, [u8; 32]), (Uuid, Instant)>,
}

/// A key, as events name it.
pub(super) type Whose = (Id<Tenant>, Uuid);

impl Keyring {
    /// The keys in a migrated database, for a role that may add some. The master key is that of the
    /// vault.
    #[must_use]
    pub fn new(pool: PgPool, master: &[u8; 32]) -> Self {
        let wrap = Aes256GcmSiv::new((&*mac(master, b"everstep subjects 1 wrap")).into());
        let names = mac(master, b"everstep subjects 1 names");
        Self { pool, wrap, names, held: Mutex::default() }
    }

    /// The subject that a person is, made when first named. Of two made at once the first one stays.
    ///
    /// # Panics
    /// If they are not called anything.
    pub async fn subject(&self, tenant: Id<Tenant>, name: &str) -> Result<Id<Subject>, Error> {
        assert_ne!(name, NOBODY, "nobody in particular is no person");
        let fresh = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        self.named(tenant, name, fresh).await.map(Id::from_uuid)
    }

    /// The subject that a person is, if anything is known about them.
    pub async fn find(&self, tenant: Id<Tenant>, name: &str) -> Result<Option<Id<Subject>>, Error> {
        let hash = self.hash(tenant, name);
        Ok(self.look_up(tenant, hash).await?.map(Id::from_uuid))
    }

    /// Destroys the key of a subject, for ever, and forgets what they are called.
    pub async fn destroy(&self, tenant: Id<Tenant>, subject: Id<Subject>) -> Result<(), Error> {
        sqlx::query(
            "UPDATE ops.subject_key SET sealed = NULL, name = NULL, erased_at = clock_timestamp()
             WHERE tenant = $1 AND id = $2 AND erased_at IS NULL",
        )
        .bind(tenant.as_uuid())
        .bind(subject.as_uuid())
        .execute(&self.pool)
        .await?;
        self.forget((tenant, subject.as_uuid()));
        Ok(())
    }

    /// Takes a key out of memory.
    pub(super) fn forget(&self, whose: Whose) {
        let mut held = self.held();
        held.keys.remove(&whose);
        held.names.retain(|(tenant, _), (id, _)| (*tenant, *id) != whose);
    }

    /// The id of the key for what is no subject's.
    pub(super) async fn of_nobody(&self, tenant: Id<Tenant>) -> Result<Uuid, Error> {
        self.named(tenant, NOBODY, nobody(tenant)).await
    }

    /// Keys by their names; nothing for one that was destroyed.
    pub(super) async fn keys(
        &self,
        wanted: &[Whose],
    ) -> Result<HashMap<Whose, Option<Key>>, Error> {
        let (mut found, mut missing) = (HashMap::new(), vec![]);
        let now = Instant::now();
        {
            let held = self.held();
            for whose in wanted {
                match held.keys.get(whose).filter(|(_, until)| *until > now) {
                    Some((key, _)) => drop(found.insert(*whose, key.clone())),
                    None => missing.push(*whose),
                }
            }
        }
        if !missing.is_empty() {
            let read = self.read(&missing).await?;
            let mut held = self.held();
            if held.keys.len() + read.len() > CAPACITY {
                held.keys.clear();
            }
            for (whose, key) in read {
                held.keys.insert(whose, (key.clone(), now + HELD));
                found.insert(whose, key);
            }
        }
        match wanted.iter().find(|whose| !found.contains_key(whose)) {
            Some((_, id)) => Err(Error::Damaged(format!("there is no subject {id}"))),
            None => Ok(found),
        }
    }

    async fn read(&self, wanted: &[Whose]) -> Result<Vec<(Whose, Option<Key>)>, Error> {
        let (tenants, ids): (Vec<Uuid>, Vec<Uuid>) =
            wanted.iter().map(|(tenant, id)| (tenant.as_uuid(), *id)).unzip();
        let rows: Vec<(Uuid, Uuid, Option<Vec<u8>>)> = sqlx::query_as(
            "SELECT tenant, id, sealed FROM ops.subject_key
             JOIN unnest($1::uuid[], $2::uuid[]) AS wanted (tenant, id) USING (tenant, id)",
        )
        .bind(tenants)
        .bind(ids)
        .fetch_all(&self.pool)
        .await?;
        let open = |(tenant, id, sealed): (Uuid, Uuid, Option<Vec<u8>>)| {
            let whose = (Id::from_uuid(tenant), id);
            Ok((whose, sealed.map(|sealed| self.unwrap(whose, &sealed)).transpose()?))
        };
        rows.into_iter().map(open).collect()
    }

    /// The id that stands for a name; the fresh one, if there is none yet.
    async fn named(&self, tenant: Id<Tenant>, name: &str, fresh: Uuid) -> Result<Uuid, Error> {
        let hash = self.hash(tenant, name);
        let now = Instant::now();
        if let Some((id, until)) = self.held().names.get(&(tenant, hash))
            && *until > now
        {
            return Ok(*id);
        }
        let id = match self.look_up(tenant, hash).await? {
            Some(id) => id,
            None => self.make((tenant, fresh), hash).await?,
        };
        let mut held = self.held();
        if held.names.len() >= CAPACITY {
            held.names.clear();
        }
        held.names.insert((tenant, hash), (id, now + HELD));
        Ok(id)
    }

    async fn look_up(&self, tenant: Id<Tenant>, hash: [u8; 32]) -> Result<Option<Uuid>, Error> {
        let found = "SELECT id FROM ops.subject_key WHERE tenant = $1 AND name = $2";
        let found = sqlx::query_scalar(found).bind(tenant.as_uuid()).bind(hash.as_slice());
        Ok(found.fetch_optional(&self.pool).await?)
    }

    async fn make(&self, whose: Whose, hash: [u8; 32]) -> Result<Uuid, Error> {
        let (tenant, id) = whose;
        let fresh = Zeroizing::new(rand::random::<[u8; 32]>());
        sqlx::query(
            "INSERT INTO ops.subject_key (tenant, id, name, sealed) VALUES ($1, $2, $3, $4)
             ON CONFLICT DO NOTHING",
        )
        .bind(tenant.as_uuid())
        .bind(id)
        .bind(hash.as_slice())
        .bind(self.wrap(whose, &fresh))
        .execute(&self.pool)
        .await?;
        let found = self.look_up(tenant, hash).await?;
        // Somebody erased them in this very moment: the caller may try again.
        found.ok_or(Error::Busy { retry_after: Duration::ZERO })
    }

    fn hash(&self, tenant: Id<Tenant>, name: &str) -> [u8; 32] {
        let said = [tenant.as_uuid().as_bytes().as_slice(), name.as_bytes()].concat();
        *mac(self.names.as_slice(), &said)
    }

    fn wrap(&self, whose: Whose, key: &[u8; 32]) -> Vec<u8> {
        let nonce = rand::random::<[u8; NONCE]>();
        let payload = Payload { msg: key, aad: &place(whose) };
        let sealed = self.wrap.encrypt(&Nonce::from(nonce), payload).expect("a key is short");
        [nonce.as_slice(), &sealed].concat()
    }

    fn unwrap(&self, whose: Whose, sealed: &[u8]) -> Result<Key, Error> {
        let opened = sealed.split_first_chunk::<NONCE>().and_then(|(nonce, sealed)| {
            let payload = Payload { msg: sealed, aad: &place(whose) };
            let bytes = Zeroizing::new(self.wrap.decrypt(&Nonce::from(*nonce), payload).ok()?);
            <&[u8; 32]>::try_from(bytes.as_slice()).ok().map(Key::new)
        });
        opened.ok_or_else(|| {
            Error::Damaged(format!(
                "the key of subject {} was not made with this master key",
                whose.1
            ))
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id of the key for what is no subject's.
pub(super) fn nobody(tenant: Id<Tenant>) -> Uuid {
    Uuid::new_v5(&tenant.as_uuid(), b"nobody in particular")
}

fn place((tenant, id): Whose) -> Vec<u8> {
    [b"everstep subject 1 ".as_slice(), tenant.as_uuid().as_bytes(), id.as_bytes()].concat()
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}
