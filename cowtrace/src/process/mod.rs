//! What is known of the traced processes apart from their faults. Stage 5.

pub mod maps;
pub mod object;
