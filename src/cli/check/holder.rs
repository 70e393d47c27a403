//! Which process listens on a port, as far as this user may see it (Linux, proc(5)).

use std::fs::{read_dir, read_link, read_to_string};

/// The state of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// A process.
#[derive(Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process's number.
    pub id: u32,
    /// The process's name.
    pub name: String,
}

impl Holder {
    /// Returns the name of this process.
    pub fn this() -> Option<String> {
        name(std::process::id())
    }
}

/// Returns a process that listens on the port, or `None` if it cannot be seen.
pub fn holder(port: u16) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| read_to_string(path).unwrap_or_default());
    let sockets: Vec<String> = tables.iter().flat_map(|table| listening(table, port)).collect();
    let ids = read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut holders = ids.filter(|id| has_any(*id, &sockets));
    holders.find_map(|id| Some(Holder { id, name: name(id)? }))
}

/// Returns the sockets of a table that listen on the port, as `/proc/ID/fd` names them.
fn listening(table: &str, port: u16) -> Vec<String> {
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        let matches = fields.get(3) == Some(&LISTEN) && u16::from_str_radix(local, 16) == Ok(port);
        matches.then(|| format!("socket:[{}]", fields.get(9).unwrap_or(&"")))
    };
    table.lines().filter_map(socket).collect()
}

fn has_any(id: u32, sockets: &[String]) -> bool {
    let Ok(files) = read_dir(format!("/proc/{id}/fd")) else { return false };
    files.flatten().any(|file| {
        read_link(file.path())
            .is_ok_and(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
    })
}

fn name(id: u32) -> Option<String> {
    Some(read_to_string(format!("/proc/{id}/comm")).ok()?.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = holder(port).unwrap();
        assert_eq!((found.id, Some(found.name)), (std::process::id(), Holder::this()));
    }
}
