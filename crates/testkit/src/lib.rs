//! For tests, the demo and the benchmark only: doubles that speak the real protocols, and the real
//! binary as a child process.
//!
//! Nothing here pretends to be a part of Everstep. What stands in is the world around it: a mail
//! server ([`smtp`]), GitHub's HTTP API ([`github`]), a model provider ([`openai`]), a message broker
//! ([`rabbitmq`], the real one). Each listens on loopback, on a port of its own, until it is dropped,
//! and remembers what it was told.

pub mod api;
pub mod clock;
pub mod everstep;
pub mod example;
pub mod github;
pub mod http;
pub mod openai;
pub mod outside;
pub mod process;
pub mod processes;
pub mod rabbitmq;
pub mod slow;
pub mod smtp;
pub mod webhook;
pub mod witness;
