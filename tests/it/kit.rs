//! The deployment kit and the documentation: every name in them exists, and what the service manager is told.

mod systemd;
