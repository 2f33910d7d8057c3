//! Imports wasi:sockets, and so is not to be loaded.

fn main() {
    println!("{:?}", std::net::TcpStream::connect("127.0.0.1:443"));
}
