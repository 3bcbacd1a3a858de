use crate::Kind;

/// Why a delivery may say no: it never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {}

impl crate::Refusal for Refusal {
    fn kind(&self) -> Kind {
        match *self {}
    }

    fn code(&self) -> &'static str {
        match *self {}
    }
}
