//! The maps about each CPU, read at the moment they are asked for.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use aya::maps::{Array, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues};
use lacuna_core::time::nanos;

use super::activity::{ActivityBytes, CpuActivity, SwitchesBytes, Times, Watched};
use super::landing::{LandingBytes, RawLanding};
use crate::clock;

/// How often a landing is read anew that was being written meanwhile.
const ATTEMPTS: usize = 3;

/// The maps of the hooks that are attached; the others are absent.
#[derive(Default)]
pub(super) struct CpuMaps {
    pub(super) activity: Option<PerCpuArray<MapData, ActivityBytes>>,
    pub(super) watched: Watched,
    pub(super) switches: Option<PerCpuArray<MapData, SwitchesBytes>>,
    pub(super) landing: Option<PerCpuArray<MapData, LandingBytes>>,
    pub(super) passed: Option<PerCpuHashMap<MapData, u64, u64>>,
    pub(super) sample: Option<Mutex<Array<MapData, u32>>>,
}

impl CpuMaps {
    /// What every CPU that is online did; absent where neither interrupts nor switches are watched.
    pub(super) fn activity(&self) -> Option<BTreeMap<u32, CpuActivity>> {
        let interrupts = self.activity.as_ref().and_then(|map| map.get(&0, 0).ok());
        let switches = self.switches.as_ref().and_then(|map| map.get(&0, 0).ok());
        if interrupts.is_none() && switches.is_none() {
            return None;
        }
        let times = Times { boot_ahead: nanos(clock::suspended()) };
        let of_cpu = |cpu: u32| {
            let mut found = CpuActivity::default();
            if let Some(bytes) = slot(interrupts.as_ref(), cpu) {
                found.add_interrupts(bytes, self.watched, &times)?;
            }
            if let Some(bytes) = slot(switches.as_ref(), cpu) {
                found.add_switches(bytes, &times)?;
            }
            Some((cpu, found))
        };
        Some(aya::util::online_cpus().ok()?.into_iter().filter_map(of_cpu).collect())
    }

    /// What the last long silence of `cpu` ended in, or what was asked for.
    pub(super) fn landing(&self, cpu: u32) -> Option<RawLanding> {
        let map = self.landing.as_ref()?;
        (0..ATTEMPTS).find_map(|_| {
            let values = map.get(&0, 0).ok()?;
            RawLanding::decode(slot(Some(&values), cpu)?, nanos(clock::suspended()))
        })
    }

    /// How many ordinary ticks of any CPU landed at `address`, just after interrupts were enabled.
    pub(super) fn passed(&self, address: u64) -> Option<u64> {
        match self.passed.as_ref()?.get(&address, 0) {
            Ok(counts) => Some(counts.iter().sum()),
            Err(MapError::KeyNotFound) => Some(0),
            Err(_) => None,
        }
    }

    /// Asks for a stack of `cpu`; for one that is beyond the map, nothing comes.
    pub(super) fn sample(&self, cpu: u32) {
        if let Some(map) = &self.sample {
            let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
            // It fails for a number beyond the map only.
            let _ = map.set(cpu, 1, 0);
        }
    }
}

fn slot<T: aya::Pod>(values: Option<&PerCpuValues<T>>, cpu: u32) -> Option<&T> {
    values?.get(usize::try_from(cpu).ok()?)
}
