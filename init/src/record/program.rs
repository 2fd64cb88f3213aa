//! The recorder's program, run at each system call of the machine.

use crate::bpf::{
    ADD, Assembler, CALL, EXIT, FRAME, Instruction, JUMP_EQUAL, JUMP_NOT_EQUAL, LOAD_DOUBLE, MOV,
    MOV_REGISTER, SHIFT_RIGHT, STORE_DOUBLE,
};

/// A cgroup's id and a call's number, 64 bits each.
pub const PAIR_BYTES: u32 = 16;

/// A process: its number for the whole machine, as 64 bits.
pub const PROCESS_BYTES: u32 = 8;

// Helpers of include/uapi/linux/bpf.h.
const LOOKUP: i32 = 1;
const UPDATE: i32 = 2;
const CURRENT_PID: i32 = 14;
const CURRENT_CGROUP: i32 = 80;

/// Where in the frame things are.
const PROCESS_AT: i16 = -8;
const PAIR_AT: i16 = -24;
const VALUE_AT: i16 = -32;

/// Notes execve's callers in `begun`, and of those every further call in `pairs`. What a child of init does before
/// its exec is init's own.
///
/// # Errors
/// None in practice: the program is short.
pub fn write(pairs: i32, begun: i32) -> anyhow::Result<Vec<Instruction>> {
    let mut a = Assembler::default();
    let (known, end) = (a.label(), a.label());
    // struct bpf_raw_tracepoint_args: the registers, then the call's number.
    a.op(LOAD_DOUBLE, 7, 1, 8, 0);
    a.op(MOV, 8, 0, 0, 1);
    a.op(STORE_DOUBLE, FRAME, 8, VALUE_AT, 0);
    a.op(CALL, 0, 0, 0, CURRENT_PID);
    a.op(SHIFT_RIGHT, 0, 0, 0, 32);
    a.op(STORE_DOUBLE, FRAME, 0, PROCESS_AT, 0);
    a.jump(JUMP_NOT_EQUAL, 7, libc::SYS_execve as i32, known);
    update(&mut a, begun, PROCESS_AT);
    a.place(known);
    lookup(&mut a, begun, PROCESS_AT);
    a.jump(JUMP_EQUAL, 0, 0, end);
    a.op(CALL, 0, 0, 0, CURRENT_CGROUP);
    a.op(STORE_DOUBLE, FRAME, 0, PAIR_AT, 0);
    a.op(STORE_DOUBLE, FRAME, 7, PAIR_AT + 8, 0);
    lookup(&mut a, pairs, PAIR_AT);
    a.jump(JUMP_NOT_EQUAL, 0, 0, end);
    update(&mut a, pairs, PAIR_AT);
    a.place(end);
    a.op(MOV, 0, 0, 0, 0);
    a.op(EXIT, 0, 0, 0, 0);
    a.finish()
}

fn lookup(a: &mut Assembler, map: i32, key_at: i16) {
    a.map(1, map);
    a.op(MOV_REGISTER, 2, FRAME, 0, 0);
    a.op(ADD, 2, 0, 0, key_at.into());
    a.op(CALL, 0, 0, 0, LOOKUP);
}

fn update(a: &mut Assembler, map: i32, key_at: i16) {
    a.map(1, map);
    a.op(MOV_REGISTER, 2, FRAME, 0, 0);
    a.op(ADD, 2, 0, 0, key_at.into());
    a.op(MOV_REGISTER, 3, FRAME, 0, 0);
    a.op(ADD, 3, 0, 0, VALUE_AT.into());
    a.op(MOV, 4, 0, 0, 0);
    a.op(CALL, 0, 0, 0, UPDATE);
}
