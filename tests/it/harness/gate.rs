//! A gate between the shim and a CDN. While it is closed, it accepts connections and lets nothing through.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A TCP relay that can be closed.
pub struct Gate {
    /// The address that it listens on.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Copy, Default)]
enum Door {
    #[default]
    Open,
    /// Connections are accepted, and nothing happens.
    Closed,
    /// Connections end at once.
    Refusing,
}

#[derive(Default)]
struct State {
    door: Door,
    /// Connections that came while it was closed: never forwarded, not even when it opens again.
    held: Vec<TcpStream>,
    /// Connections that came while it was open.
    relayed: Vec<TcpStream>,
}

impl Gate {
    /// An open gate to `to`.
    pub fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let gate = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let state = gate.state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut state = state.lock().unwrap();
                match state.door {
                    Door::Open => {
                        state.relayed.push(stream.try_clone().unwrap());
                        thread::spawn(move || relay(stream, to));
                    }
                    Door::Closed => state.held.push(stream),
                    Door::Refusing => drop(stream),
                }
            }
        });
        gate
    }

    /// Ends what is relayed, and lets nothing more through: who connects waits for ever.
    pub fn close(&self) {
        self.turn(Door::Closed);
    }

    /// Ends what is relayed, and ends every connection that comes.
    pub fn refuse(&self) {
        self.turn(Door::Refusing);
    }

    /// Lets through what connects from now on.
    pub fn open(&self) {
        self.turn(Door::Open);
    }

    fn turn(&self, door: Door) {
        let mut state = self.state.lock().unwrap();
        state.door = door;
        for stream in state.relayed.drain(..) {
            // It may have ended already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// The number of connections that came while it was closed.
    pub fn held(&self) -> usize {
        self.state.lock().unwrap().held.len()
    }
}

fn relay(client: TcpStream, to: SocketAddr) {
    let Ok(server) = TcpStream::connect(to) else { return };
    let (Ok(mut from_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone()) else { return };
    thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut to_client) = (server, client);
    let _ = io::copy(&mut from_server, &mut to_client);
    let _ = to_client.shutdown(Shutdown::Both);
}
