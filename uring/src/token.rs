//! Whom a completion belongs to: the 64 bits of `user_data`, packed and never a pointer.

/// What was asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Op {
    /// `IORING_OP_ACCEPT`: one connection from a listener.
    Accept,
    /// `IORING_OP_CONNECT`.
    Connect,
    /// `IORING_OP_RECV` into a buffer that the kernel picks.
    Recv,
    /// `IORING_OP_SEND` from a buffer.
    Send,
    /// `IORING_OP_POLL_ADD`, one shot.
    Poll,
    /// `IORING_OP_ASYNC_CANCEL`; its completion is the ring's own business.
    Cancel,
    /// `IORING_OP_CLOSE`; its completion is the ring's own business.
    Close,
    /// `IORING_OP_NOP`: comes back at once.
    Nop,
}

/// Whose operation it is: a slot of the owner's table, which of the slot's users, and a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Index in the owner's table.
    pub slot: u32,
    /// Counts the users of the slot, so that a late completion is not taken for the next user's.
    /// 24 bits travel; the rest is dropped.
    pub generation: u32,
    /// Four bits that the owner may use, for example for a direction.
    pub tag: u8,
}

/// An operation and its owner, as they travel through the kernel.
///
/// ```text
///  63   60 59   56 55            32 31             0
/// +-------+-------+----------------+----------------+
/// |  op   |  tag  |   generation   |      slot      |
/// +-------+-------+----------------+----------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// What was asked.
    pub op: Op,
    /// Who asked.
    pub owner: Owner,
}

impl Owner {
    /// Generations that differ by a multiple of this are the same to a token.
    pub const GENERATIONS: u32 = 1 << GENERATION_BITS;

    /// An owner that needs neither generation nor tag, because its slot is never reused.
    #[must_use]
    pub const fn slot(slot: u32) -> Self {
        Self { slot, generation: 0, tag: 0 }
    }

    /// The same slot and generation with another tag. Only the low four bits of `tag` travel.
    #[must_use]
    pub const fn tagged(self, tag: u8) -> Self {
        Self { tag, ..self }
    }
}

impl Token {
    /// The `user_data` of this token.
    #[must_use]
    pub const fn pack(self) -> u64 {
        let Owner { slot, generation, tag } = self.owner;
        let op = (self.op as u64) << OP_SHIFT;
        let tag = (tag as u64 & TAG_MASK) << TAG_SHIFT;
        let generation = (generation as u64 & GENERATION_MASK) << SLOT_BITS;
        op | tag | generation | slot as u64
    }

    /// The token in `user_data`, or nothing if its operation is not one that [`Token::pack`] writes.
    #[must_use]
    pub(crate) const fn unpack(user_data: u64) -> Option<Self> {
        let op = match user_data >> OP_SHIFT {
            0 => Op::Accept,
            1 => Op::Connect,
            2 => Op::Recv,
            3 => Op::Send,
            4 => Op::Poll,
            5 => Op::Cancel,
            6 => Op::Close,
            7 => Op::Nop,
            _ => return None,
        };
        let tag = ((user_data >> TAG_SHIFT) & TAG_MASK) as u8;
        let generation = ((user_data >> SLOT_BITS) & GENERATION_MASK) as u32;
        let slot = (user_data & SLOT_MASK) as u32;
        Some(Self { op, owner: Owner { slot, generation, tag } })
    }
}

const SLOT_BITS: u32 = 32;
const GENERATION_BITS: u32 = 24;
const TAG_SHIFT: u32 = SLOT_BITS + GENERATION_BITS;
const OP_SHIFT: u32 = TAG_SHIFT + 4;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;
const TAG_MASK: u64 = 0xf;
const _: () = assert!(OP_SHIFT + 4 == u64::BITS, "op, tag, generation and slot fill user_data");
const _: () = assert!((Op::Nop as u64) < 1 << 4, "op fits its four bits");

#[cfg(test)]
mod tests {
    use super::*;

    const OPS: [Op; 8] =
        [Op::Accept, Op::Connect, Op::Recv, Op::Send, Op::Poll, Op::Cancel, Op::Close, Op::Nop];

    #[test]
    fn every_field_survives_the_kernel() {
        for op in OPS {
            for (slot, generation, tag) in
                [(0, 0, 0), (u32::MAX, 0, 0), (0, Owner::GENERATIONS - 1, 0), (0, 0, 15), (7, 9, 3)]
            {
                let token = Token { op, owner: Owner { slot, generation, tag } };
                assert_eq!(Token::unpack(token.pack()), Some(token));
            }
        }
    }

    #[test]
    fn fields_do_not_leak_into_each_other() {
        let wide = Owner { slot: 5, generation: u32::MAX, tag: u8::MAX };
        let token = Token { op: Op::Recv, owner: wide };
        let back = Token::unpack(token.pack()).map(|token| (token.op, token.owner));
        let narrowed = Owner { slot: 5, generation: Owner::GENERATIONS - 1, tag: 15 };
        assert_eq!(back, Some((Op::Recv, narrowed)));
    }

    #[test]
    fn user_data_that_nobody_packed_is_refused() {
        assert_eq!(Token::unpack(u64::MAX), None);
        assert_eq!(Token::unpack(8 << 60), None);
    }
}
