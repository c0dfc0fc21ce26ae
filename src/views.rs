//! What an operator looks at while a layout changes: [`crate::Node::coming`], [`crate::Node::going`],
//! [`crate::Node::explain_route`].

pub use crate::node::{Coming, Going, Kept, Route, Waiting};
