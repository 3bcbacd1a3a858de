//! The outside world, behind few ports: outbound HTTP, language models, e-mail, brokers, and the
//! vault.

pub mod amqp;
pub mod channels;
pub mod egress;
pub mod integrations;
pub mod models;
pub mod vault;

#[cfg(test)]
mod double;
