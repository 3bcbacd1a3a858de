//! Requests of integrations, with their credentials: the last step before they go out.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::integration::{Auth, Outbound, SecretRef, Spec};
use domain::{Id, Tenant};
use secrecy::ExposeSecret as _;

use crate::egress::{MAX_BODY, OutboundRequest};
use crate::vault::{Vault, VaultError};

/// How long a request may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Makes the request that goes out: credentials from the vault, and the idempotency key of the
/// call, if it has one.
pub async fn request(
    vault: &Vault,
    tenant: Id<Tenant>,
    spec: &Spec,
    outbound: Outbound,
    key: Option<&str>,
) -> Result<OutboundRequest, VaultError> {
    let mut request = OutboundRequest::new(outbound.method, outbound.url);
    request.timeout = DEADLINE;
    request.max_body = MAX_BODY;
    request.headers = outbound.headers;
    if let Some(key) = key {
        request = request.header(outbound.idempotency_header, key);
    }
    if let Some(body) = &outbound.body {
        request = request.json(body);
    }
    Ok(match credentials(vault, tenant, &spec.auth).await? {
        Some((name, value)) => request.header(name, value),
        None => request,
    })
}

async fn credentials(
    vault: &Vault,
    tenant: Id<Tenant>,
    auth: &Auth,
) -> Result<Option<(String, String)>, VaultError> {
    let reveal = async |secret: &SecretRef| {
        vault.get(tenant, secret).await.map(|secret| secret.expose_secret().to_owned())
    };
    let authorization = "authorization".to_owned();
    Ok(match auth {
        Auth::None => None,
        Auth::Bearer { secret } => {
            Some((authorization, format!("Bearer {}", reveal(secret).await?)))
        }
        Auth::Basic { username, secret } => {
            let pair = format!("{username}:{}", reveal(secret).await?);
            Some((authorization, format!("Basic {}", STANDARD.encode(pair))))
        }
        Auth::Header { name, secret } => Some((name.clone(), reveal(secret).await?)),
    })
}
