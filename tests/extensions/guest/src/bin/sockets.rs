//! Imports `wasi:sockets` and tries each kind of socket.

use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

fn main() {
    let server = std::env::args().nth(1).unwrap_or_default();
    println!("connect: {:?}", TcpStream::connect(&server).map(drop));
    println!("listen: {:?}", TcpListener::bind("127.0.0.1:0").map(drop));
    println!("udp: {:?}", UdpSocket::bind("127.0.0.1:0").map(drop));
    println!("name: {:?}", "localhost:443".to_socket_addrs().map(drop));
}
