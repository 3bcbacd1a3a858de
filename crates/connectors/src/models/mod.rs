//! Language models: one port, [`Model`], and what serves it.

#[cfg(test)]
mod conformance;
mod openai_chat;
mod port;
mod registry;
mod sandbox;

pub use openai_chat::{Dialect, MaxTokensField, SystemRole};
pub use port::{ChatAnswer, ChatError, ChatRequest, Finish, Message, Model, Role};
pub use registry::{Kind, ModelInfo, Models, ModelsError, Provider, ProviderConfig};
pub use sandbox::Sandbox;
