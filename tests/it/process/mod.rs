//! The shim as a process.
//!
//! | file | what is tested |
//! |---|---|
//! | `configuration.rs`, `certificates.rs`, `checks.rs` | reports of `check` and at the start |
//! | `admin.rs`, `siege.rs` | the admin API, for operators and against enemies |
//! | `command_line.rs` | commands, their errors and exit codes |
//! | `console.rs` | the console in a real browser |
//! | `top.rs` | the live view in a terminal |
//! | `reload.rs`, `drain.rs`, `hand_over.rs` | reloads, the end, and upgrades under load |
//! | `budget.rs`, `growth.rs` | instructions per request, and per site |

mod admin;
mod budget;
mod certificates;
mod checks;
mod command_line;
mod configuration;
mod console;
mod drain;
mod growth;
mod hand_over;
mod reload;
mod siege;
mod top;
