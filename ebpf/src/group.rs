//! One group that is attached: reading its maps, and what it costs.

use std::os::fd::{AsRawFd, OwnedFd};

use aya::Pod;
use aya::maps::{HashMap, Map, MapData, PerCpuArray, PerCpuHashMap};

use crate::histogram::{Histogram, Raw};
use crate::loader::Parts;
use crate::unavailable::Unavailable;

/// The programs of one object, attached. Dropping it detaches them and frees their maps.
#[derive(Debug)]
pub struct Attached {
    parts: Parts,
    /// The maps by name, opened once: each opening asks the kernel what a map is.
    maps: Vec<(String, Map)>,
}

/// What a program has cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The program's name.
    pub program: String,
    /// Times that it ran while the kernel measured.
    pub runs: u64,
    /// Nanoseconds that these took.
    pub ns: u64,
}

impl Attached {
    /// Takes over what was attached.
    ///
    /// # Errors
    /// When a map cannot be opened.
    pub(crate) fn new(parts: Parts) -> Result<Attached, Unavailable> {
        let open = |(name, fd): &(String, OwnedFd)| {
            let failed = |error: &dyn std::error::Error| Unavailable::new(format!("open map {name}"), error);
            let copy = fd.try_clone().map_err(|e| failed(&e))?;
            let map = MapData::from_fd(copy).and_then(Map::from_map_data).map_err(|e| failed(&e))?;
            Ok((name.clone(), map))
        };
        let maps = parts.maps.iter().map(open).collect::<Result<_, Unavailable>>()?;
        Ok(Attached { parts, maps })
    }

    /// Why programs that the group can do without are not there.
    pub fn missing(&self) -> &[Unavailable] {
        &self.parts.missing
    }

    /// Bytes of kernel memory of its maps, as the kernel accounts them; `None` where /proc does not say.
    pub fn map_bytes(&self) -> Option<u64> {
        let sizes = self.parts.maps.iter().map(|(_, fd)| fdinfo(fd)).map(|text| field(&text, "memlock:"));
        sizes.sum()
    }

    /// What each program cost while the kernel measured (see [`crate::measure_cost`]).
    pub fn costs(&self) -> Vec<Cost> {
        let cost = |(name, fd): &(String, OwnedFd)| {
            let text = fdinfo(fd);
            let (runs, ns) = (field(&text, "run_cnt:")?, field(&text, "run_time_ns:")?);
            Some(Cost { program: name.clone(), runs, ns })
        };
        self.parts.programs.iter().filter_map(cost).collect()
    }

    fn map(&self, name: &str) -> Result<&Map, Unavailable> {
        let found = self.maps.iter().find(|(known, _)| known == name).map(|(_, map)| map);
        found.ok_or_else(|| Unavailable::said(format!("open map {name}"), "the object lacks it"))
    }

    /// The values of every entry of a per-CPU array, entry by entry.
    pub(crate) fn array<V: Pod>(&self, name: &str, entries: u32) -> Result<Vec<Vec<V>>, Unavailable> {
        let failed = |error: &dyn std::error::Error| Unavailable::new(format!("read map {name}"), error);
        let map: PerCpuArray<&MapData, V> = self.map(name)?.try_into().map_err(|e| failed(&e))?;
        (0..entries).map(|index| Ok(map.get(&index, 0).map_err(|e| failed(&e))?.to_vec())).collect()
    }

    /// The counters of a per-CPU array, each summed over the CPUs.
    pub(crate) fn counters(&self, name: &str, entries: u32) -> Result<Vec<u64>, Unavailable> {
        Ok(self.array::<u64>(name, entries)?.iter().map(|values| values.iter().sum()).collect())
    }

    /// The only histogram of a per-CPU array.
    pub(crate) fn histogram(&self, name: &str) -> Result<Histogram, Unavailable> {
        let values = self.array::<Raw>(name, 1)?;
        Ok(values.iter().flatten().fold(Histogram::default(), Histogram::add))
    }

    /// Histograms by key.
    pub(crate) fn histograms<K: Pod>(&self, name: &str) -> Result<Vec<(K, Histogram)>, Unavailable> {
        let failed = |error: &dyn std::error::Error| Unavailable::new(format!("read map {name}"), error);
        let map: PerCpuHashMap<&MapData, K, Raw> = self.map(name)?.try_into().map_err(|e| failed(&e))?;
        let sum = |(key, values): (K, aya::maps::PerCpuValues<Raw>)| {
            (key, values.iter().fold(Histogram::default(), Histogram::add))
        };
        // An entry that goes away while it is read is left out.
        Ok(map.iter().filter_map(Result::ok).map(sum).collect())
    }

    /// Entries of a hash whose least used are forgotten.
    pub(crate) fn entries<K: Pod, V: Pod>(&self, name: &str) -> Result<Vec<(K, V)>, Unavailable> {
        let failed = |error: &dyn std::error::Error| Unavailable::new(format!("read map {name}"), error);
        let map: HashMap<&MapData, K, V> = self.map(name)?.try_into().map_err(|e| failed(&e))?;
        Ok(map.iter().filter_map(Result::ok).collect())
    }
}

fn fdinfo(fd: &OwnedFd) -> String {
    std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap_or_default()
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)).and_then(|value| value.trim().parse().ok())
}
