package simulate

// A cheap random generator: splitmix64, whose state is one word and whose output is well distributed for any state.
// The properties of simulated devices are functions of it, so that a million devices need no memory.

const golden = 0x9e3779b97f4a7c15

// mix returns a well-spread hash of x.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// source is a stream of random numbers.
type source uint64

func (s *source) next() uint64 {
	*s += golden
	return mix(uint64(*s))
}

// below returns a number from 0 to n-1. n must be far below 1<<32.
func (s *source) below(n int) int { return int((s.next() >> 32) * uint64(n) >> 32) }

const hexDigits = "0123456789abcdef"

// appendUUID appends a version 4 UUID made of the next 128 bits.
func (s *source) appendUUID(b []byte) []byte {
	hi, lo := s.next(), s.next()
	hi = hi&^0xf000 | 0x4000
	lo = lo&^(3<<62) | 2<<62
	var u [36]byte
	n := 0
	for i := range 16 {
		v := hi
		if i >= 8 {
			v = lo
		}
		c := byte(v >> (56 - 8*(i&7)))
		u[n], u[n+1] = hexDigits[c>>4], hexDigits[c&15]
		n += 2
		if i == 3 || i == 5 || i == 7 || i == 9 {
			u[n] = '-'
			n++
		}
	}
	return append(b, u[:]...)
}
