//! What goes over the network: heartbeats over UDP and echo requests over ICMP.

pub mod fragmenting;
pub mod icmp;
pub mod keys;
pub mod mtu;
pub mod seal;
pub mod udp;
pub mod wire;
