//! Hosts of the lab that are virtual machines: kernels, images, the emulator, and the program inside that obeys.

pub(crate) mod cgroup;
mod channel;
mod cpio;
mod debian;
mod erred;
mod fault;
mod image;
pub(crate) mod kernel;
mod module;
mod qmp;
pub(crate) mod step;
pub(crate) mod threads;
mod vm;

pub(crate) use self::erred::emulator_erred;
pub(crate) use self::fault::Faults;
pub(crate) use self::image::Image;
pub(crate) use self::kernel::Release;
pub(crate) use self::step::GuestStep;
pub(crate) use self::vm::{ANSWER, Guest, NotUp, Place};
