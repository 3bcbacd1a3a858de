//! A directory that takes e-mails where no server is configured: nobody receives them.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{Email, Message, SendError, Sent, format};

/// A directory of captured e-mails, one `.eml` file each.
#[derive(Debug, Clone)]
pub struct Mailbox {
    directory: PathBuf,
}

impl Mailbox {
    /// The mailbox in this directory, which is made if it is missing.
    pub fn new(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        std::fs::create_dir_all(&directory)?;
        Ok(Self { directory })
    }

    /// Where the e-mails are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

#[async_trait]
impl Email for Mailbox {
    async fn send(&self, message: &Message) -> Result<Sent, SendError> {
        let bytes = format::format(message)?.formatted();
        let file = self.directory.join(format!("{}.eml", message.message_id));
        // A reader of the directory never sees half a message.
        let draft = file.with_extension("part");
        let written = async {
            tokio::fs::write(&draft, bytes).await?;
            tokio::fs::rename(&draft, &file).await
        };
        written.await.map_err(|error| SendError {
            permanent: false,
            detail: format!("the mailbox cannot be written: {error}"),
        })?;
        Ok(Sent { via: "mailbox", message_id: message.message_id.clone() })
    }
}
