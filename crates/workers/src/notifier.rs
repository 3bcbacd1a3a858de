//! Notifications: rendered from the pinned template, sent, and tried again when that fails.

use connectors::channels::email::{Message, Sent};
use domain::notification::{Command, Notification};
use domain::template::Template;
use domain::{Id, Tenant};
use eventstore::load;

use crate::carry::{Done, Performed};
use crate::{Deps, Error};

/// Makes one attempt, if one is due.
pub(crate) async fn deliver(
    deps: &Deps,
    tenant: Id<Tenant>,
    id: Id<Notification>,
) -> Result<Performed, Error> {
    let (state, version) = load::<Notification>(&*deps.log, tenant, id).await?;
    let Some(due) = state.due(deps.clock.now()) else { return Ok(Performed::Nothing) };
    let (template, _) = load::<Template>(&*deps.log, tenant, due.template).await?;
    let rendered = match template.version(Some(due.version)) {
        _ if state.is_erased() => Err("whoever it was for was erased".to_owned()),
        Some(version) => version.render(&due.data).map_err(|error| error.to_string()),
        None => Err("the template's version is gone".to_owned()),
    };
    let command = match rendered {
        Ok(mail) => {
            let message = Message {
                from: deps.mail_from.clone(),
                to: due.to.clone(),
                subject: mail.subject,
                text: mail.text,
                html: mail.html,
                message_id: format!("{id}@everstep"),
            };
            match deps.email.send(&message).await {
                Ok(Sent { via, message_id }) => {
                    Command::RecordSent { via: via.to_owned(), message_id }
                }
                Err(error) => {
                    Command::RecordFailure { detail: error.detail, permanent: error.permanent }
                }
            }
        }
        Err(detail) => Command::RecordFailure { detail, permanent: true },
    };
    Ok(Performed::Done(Done::Attempted(command, version)))
}
