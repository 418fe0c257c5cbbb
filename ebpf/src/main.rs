//! The probes in the kernel but `sched`, which is an object of its own (see its header).
//!
//! Every family looks alike: a header with hooks and outputs, thin entries, then `try_x() -> Result`. None sleeps,
//! loops or sends an event for what is normal.
#![no_std]
#![no_main]

mod address;
mod drops;
mod fragments;
mod irq;
mod jiffies;
mod kernel;
mod landing;
mod link;
mod netns;
mod output;
mod packet;
mod passing;
mod softirq;
mod tcp;
mod timer;
mod watchdogs;
