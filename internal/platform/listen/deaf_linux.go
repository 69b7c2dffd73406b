package listen

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// deafen makes a listener ignore new connections and waits, for up to about a second, until those in the accept queue
// are accepted. Closing a listener resets queued connections, whose clients may have sent a request; a client whose
// SYN is dropped retries and is then refused. Where the kernel does not allow the filter, deafen does nothing.
func deafen(l net.Listener) {
	tcp, is := l.(*net.TCPListener)
	if !is {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil || control(raw, dropSYN) != nil {
		return
	}
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		time.Sleep(handshake)
		waiting := 0
		if control(raw, func(fd int) error {
			info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
			if err == nil {
				waiting = int(info.Unacked) // for a listener, the length of the accept queue
			}
			return err
		}) != nil || waiting == 0 {
			return
		}
	}
}

// handshake is how long a nearby client takes to complete a handshake.
const handshake = 20 * time.Millisecond

type controller interface{ Control(func(fd uintptr)) error }

func control(raw controller, do func(fd int) error) (err error) {
	if out := raw.Control(func(fd uintptr) { err = do(int(fd)) }); out != nil {
		return out
	}
	return err
}

// dropSYN attaches a filter (classic BPF) on TCP headers that drops segments with SYN and without ACK.
func dropSYN(fd int) error {
	const flags, syn, ack, all = 13, 0x02, 0x10, 1<<32 - 1
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: syn | ack},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: syn, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: all},
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}
