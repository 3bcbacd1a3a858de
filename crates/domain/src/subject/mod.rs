//! People whose data are in the log.
//!
//! A subject is a person for as long as somebody may know them: when they are erased, their key is
//! destroyed, and if they come back they are another subject. What the person is called is known
//! to whoever keeps the keys, and to nobody else.
//!
//! ```text
//! (anything) --erase--> to be erased --note that the key is gone--> erased
//! ```

mod command;
mod decide;
mod event;
mod refusal;
mod state;
#[cfg(test)]
mod tests;

pub use command::Command;
pub use event::Event;
pub use refusal::Refusal;
pub use state::Subject;
