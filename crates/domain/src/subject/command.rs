/// What one may ask about a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Erase them.
    Erase,
    /// Note that their key is gone for ever.
    RecordErased,
}
