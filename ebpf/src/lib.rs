//! CO-RE eBPF programs and their typed loader.
