//! CRC32C of bytes that are checksummed apart: the appender sums up its payload, the writer only the frame's head.

/// The polynomial of CRC32C, its bits reversed.
const POLYNOMIAL: u32 = 0x82F6_3B78;
/// The polynomial 1, whose coefficient is the highest bit.
const ONE: u32 = 1 << 31;
/// x to the power of 2^k, modulo the polynomial.
const POWERS: [u32; 64] = powers();

/// The checksum of some bytes followed by `length` others, from the checksums of both.
pub(super) fn combine(first: u32, second: u32, length: usize) -> u32 {
    // Eight bits a byte: the first power is x^(2^3).
    let (mut shift, mut length, mut power) = (ONE, length, 3);
    while length > 0 {
        if length & 1 == 1 {
            shift = multiply(POWERS[power], shift);
        }
        length >>= 1;
        power += 1;
    }
    multiply(shift, first) ^ second
}

/// The product of two polynomials over GF(2), modulo that of CRC32C.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let (mut product, mut bit) = (0, ONE);
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        b = if b & 1 == 1 { (b >> 1) ^ POLYNOMIAL } else { b >> 1 };
        bit >>= 1;
    }
    product
}

const fn powers() -> [u32; 64] {
    let mut powers = [ONE >> 1; 64];
    let mut k = 1;
    while k < powers.len() {
        powers[k] = multiply(powers[k - 1], powers[k - 1]);
        k += 1;
    }
    powers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Wherever bytes are cut in two, the parts' checksums make that of the whole.
        #[test]
        fn of_two_parts(bytes in proptest::collection::vec(any::<u8>(), 0..2000), at in any::<prop::sample::Index>()) {
            let (first, second) = bytes.split_at(at.index(bytes.len() + 1));
            let combined = combine(crc32c::crc32c(first), crc32c::crc32c(second), second.len());
            prop_assert_eq!(combined, crc32c::crc32c(&bytes));
        }
    }

    /// Long payloads, too: 64 MiB is the longest.
    #[test]
    fn of_a_long_part() {
        let second = vec![7; 64 << 20];
        let whole = crc32c::crc32c_append(crc32c::crc32c(b"head"), &second);
        assert_eq!(combine(crc32c::crc32c(b"head"), crc32c::crc32c(&second), second.len()), whole);
    }
}
