//! Whenever this happens, do that.
