//! eBPF programs of init's own, a few instructions (RFC 9669) put together at run time; [`sys`] gives them to the
//! kernel.
//!
//! What the collector measures with is written in C (`ebpf/`); these depend on the config, and are short.

pub mod sys;

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Class and operation.
    pub code: u8,
    /// Destination register, and source register above it.
    pub registers: u8,
    /// A jump's distance, or a memory offset.
    pub offset: i16,
    /// The constant.
    pub immediate: i32,
}

/// A constant into a register.
pub const MOV: u8 = 0xB7;
/// A register into a register.
pub const MOV_REGISTER: u8 = 0xBF;
/// The lower half of a register into a register.
pub const MOV_REGISTER_32: u8 = 0xBC;
/// Adds a constant.
pub const ADD: u8 = 0x07;
/// Keeps the bits of a constant, of 32.
pub const AND_32: u8 = 0x54;
/// Moves bits down by a constant.
pub const SHIFT_RIGHT: u8 = 0x77;
/// Turns as many bits as the constant says from the network's order into the host's.
pub const TO_BIG_ENDIAN: u8 = 0xDC;
/// 32 bits of memory into a register.
pub const LOAD_WORD: u8 = 0x61;
/// 64 bits of memory into a register.
pub const LOAD_DOUBLE: u8 = 0x79;
/// A register into 64 bits of memory.
pub const STORE_DOUBLE: u8 = 0x7B;
/// A helper; it takes registers 1 to 5 and answers in 0.
pub const CALL: u8 = 0x85;
/// The end; register 0 is the answer.
pub const EXIT: u8 = 0x95;
/// Jumps always.
pub const JUMP: u8 = 0x05;
/// Jumps when all 64 bits are the constant's.
pub const JUMP_EQUAL: u8 = 0x15;
/// Jumps when one of the 64 bits is not the constant's.
pub const JUMP_NOT_EQUAL: u8 = 0x55;
/// Jumps when the lower half is the constant.
pub const JUMP_EQUAL_32: u8 = 0x16;
/// Jumps when the lower half is not the constant.
pub const JUMP_NOT_EQUAL_32: u8 = 0x56;
/// A map into a register: two instructions.
const LOAD_MAP: u8 = 0x18;

/// The frame pointer.
pub const FRAME: u8 = 10;

/// Somewhere that is jumped to before it is known where it is.
#[derive(Clone, Copy, Debug)]
pub struct Label(usize);

/// A program as it is written.
#[derive(Debug, Default)]
pub struct Assembler {
    code: Vec<Instruction>,
    jumps: Vec<(usize, Label)>,
    places: Vec<usize>,
}

impl Assembler {
    /// An instruction.
    pub fn op(&mut self, code: u8, to: u8, from: u8, offset: i16, immediate: i32) {
        self.code.push(Instruction { code, registers: from << 4 | to, offset, immediate });
    }

    /// A new place, not placed yet.
    pub fn label(&mut self) -> Label {
        self.places.push(0);
        Label(self.places.len() - 1)
    }

    /// The next instruction is here.
    pub fn place(&mut self, label: Label) {
        self.places[label.0] = self.code.len();
    }

    /// A jump to a place further down.
    pub fn jump(&mut self, code: u8, register: u8, immediate: i32, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.op(code, register, 0, 0, immediate);
    }

    /// The map behind `fd` into a register (BPF_PSEUDO_MAP_FD).
    pub fn map(&mut self, register: u8, fd: i32) {
        self.op(LOAD_MAP, register, 1, 0, fd);
        self.op(0, 0, 0, 0, 0);
    }

    /// The program.
    ///
    /// # Errors
    /// When a jump is farther than an instruction can say.
    pub fn finish(mut self) -> anyhow::Result<Vec<Instruction>> {
        for (from, to) in &self.jumps {
            let distance = self.places[to.0] - from - 1;
            self.code[*from].offset = i16::try_from(distance).map_err(|_| {
                anyhow::anyhow!("a jump over {distance} instructions; an instruction cannot say it")
            })?;
        }
        Ok(self.code)
    }
}
