//! An address list as an eBPF program, without maps: compare, and let through or drop.
//!
//! The program (BPF_PROG_TYPE_CGROUP_SKB) gets a packet that begins with its IP header, reads the other
//! side's address from there, and compares it with one prefix after the other. What is neither IPv4
//! nor IPv6, or too short for an address, is dropped.

use std::net::IpAddr;

use super::Prefix;
use crate::bpf::{
    ADD, AND_32, Assembler, CALL, EXIT, FRAME, Instruction, JUMP, JUMP_EQUAL_32, JUMP_NOT_EQUAL_32,
    LOAD_WORD, Label, MOV, MOV_REGISTER, MOV_REGISTER_32, TO_BIG_ENDIAN,
};

/// The longest list. An IPv6 prefix takes up to four branches, and the kernel's verifier follows 8192 branches
/// that are still open (BPF_COMPLEXITY_LIMIT_JMP_SEQ), so that this is half of what it can take.
pub const PREFIXES_MAX: usize = 1024;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the service: its source is judged.
    Arriving,
    /// From the service: its destination is judged.
    Leaving,
}

/// Offset of `protocol` in `struct __sk_buff`.
const PROTOCOL_OFFSET: i16 = 16;

/// `bpf_skb_load_bytes` among the helpers.
const LOAD_BYTES: i32 = 26;

const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86DD;

/// Where in the frame the address is put.
const ADDRESS_AT: i16 = -16;

/// The first of the registers that hold the address, 32 bits each; calls leave them alone.
const WORDS_FROM: u8 = 6;

/// The program that lets through what comes from (or goes to) `allowed`.
///
/// # Errors
/// When there are more than [`PREFIXES_MAX`].
pub fn compile(allowed: &[Prefix], direction: Direction) -> anyhow::Result<Vec<Instruction>> {
    let count = allowed.len();
    anyhow::ensure!(count <= PREFIXES_MAX, "{count} addresses for one service; at most {PREFIXES_MAX}");
    // Offsets of source and destination (RFC 791, RFC 8200).
    let (at_v4, at_v6) = match direction {
        Direction::Arriving => (12, 8),
        Direction::Leaving => (16, 24),
    };
    let mut a = Assembler::default();
    if allowed.is_empty() {
        // The kernel takes no program with instructions that nothing leads to.
        a.op(MOV, 0, 0, 0, 0);
        a.op(EXIT, 0, 0, 0, 0);
        return a.finish();
    }
    let [v4, v6, allow, deny] = [(); 4].map(|()| a.label());
    a.op(MOV_REGISTER, WORDS_FROM, 1, 0, 0);
    a.op(LOAD_WORD, 7, 1, PROTOCOL_OFFSET, 0);
    a.jump(JUMP_EQUAL_32, 7, u16::to_be(ETH_P_IP).into(), v4);
    a.jump(JUMP_EQUAL_32, 7, u16::to_be(ETH_P_IPV6).into(), v6);
    a.jump(JUMP, 0, 0, deny);
    a.place(v4);
    load_address(&mut a, at_v4, 1, deny);
    for prefix in allowed {
        if let IpAddr::V4(address) = prefix.address() {
            compare(&mut a, &[address.to_bits()], prefix.length(), allow);
        }
    }
    a.jump(JUMP, 0, 0, deny);
    a.place(v6);
    load_address(&mut a, at_v6, 4, deny);
    for prefix in allowed {
        if let IpAddr::V6(address) = prefix.address() {
            let bits = address.to_bits();
            compare(&mut a, &[96, 64, 32, 0].map(|shift| (bits >> shift) as u32), prefix.length(), allow);
        }
    }
    a.place(deny);
    a.op(MOV, 0, 0, 0, 0);
    a.op(EXIT, 0, 0, 0, 0);
    a.place(allow);
    a.op(MOV, 0, 0, 0, 1);
    a.op(EXIT, 0, 0, 0, 0);
    a.finish()
}

/// Reads an address of `words` times 32 bits at `offset` of the packet, which register 6 points to, into
/// the registers from 6 on, in the host's byte order.
fn load_address(a: &mut Assembler, offset: i32, words: u8, deny: Label) {
    a.op(MOV_REGISTER, 1, WORDS_FROM, 0, 0);
    a.op(MOV, 2, 0, 0, offset);
    a.op(MOV_REGISTER, 3, FRAME, 0, 0);
    a.op(ADD, 3, 0, 0, ADDRESS_AT.into());
    a.op(MOV, 4, 0, 0, i32::from(words) * 4);
    a.op(CALL, 0, 0, 0, LOAD_BYTES);
    a.jump(JUMP_NOT_EQUAL_32, 0, 0, deny);
    for word in 0..words {
        let register = WORDS_FROM + word;
        a.op(LOAD_WORD, register, FRAME, ADDRESS_AT + i16::from(word) * 4, 0);
        a.op(TO_BIG_ENDIAN, register, 0, 0, 32);
    }
}

/// Jumps to `allow` when the first `length` bits of the registers are those of `words`.
fn compare(a: &mut Assembler, words: &[u32], length: u8, allow: Label) {
    let next = a.label();
    for (index, word) in (0u8..).zip(words) {
        let (register, bits) = (WORDS_FROM + index, length.saturating_sub(index * 32).min(32));
        match bits {
            0 if index > 0 => break,
            32 => a.jump(JUMP_NOT_EQUAL_32, register, *word as i32, next),
            _ => {
                a.op(MOV_REGISTER_32, 0, register, 0, 0);
                a.op(AND_32, 0, 0, 0, u32::MAX.unbounded_shl(32 - u32::from(bits)) as i32);
                a.jump(JUMP_NOT_EQUAL_32, 0, *word as i32, next);
            }
        }
    }
    a.jump(JUMP, 0, 0, allow);
    a.place(next);
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
