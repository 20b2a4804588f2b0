//! Asking for memory: who grants it is above the engine.

use std::any::Any;

use crate::error::Result;

/// What stands for granted memory: it goes with what was allocated.
pub(crate) type Held = Box<dyn Any + Send + Sync>;

/// Asks for so many bytes, before they are allocated.
pub(crate) type Ask<'a> = &'a dyn Fn(u64) -> Result<Held>;
