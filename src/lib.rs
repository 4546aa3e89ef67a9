//! Placeholder.
pub mod dead_letter;
pub mod cli {
    //! Placeholder.
    pub mod dead_letters;
}
