package fdtable

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"
)

// A netns is what has been read of one network namespace: each table at most once, and only as far as it was needed.
type netns struct {
	sockets map[uint64]Socket
	unread  []socketTable
}

// find returns the socket with the inode, and reads on through the tables of the process that the directory is of until it is
// found.
func (ns *netns) find(processDir int, inode uint64, buf []byte) (Socket, bool) {
	for {
		if socket, ok := ns.sockets[inode]; ok {
			return socket, true
		}
		if len(ns.unread) == 0 {
			return Socket{}, false
		}
		table := ns.unread[0]
		ns.unread = ns.unread[1:]
		// Missing tables are normal: no IPv6, no raw sockets in the kernel.
		if data, err := readAt(processDir, table.file, buf[:0]); err == nil {
			parseSockets(data, table.parse, ns.sockets)
		}
	}
}

// namespace returns what is known of the network namespace of the process. Sockets that were made after a table was read are
// missed, and then told by their protocol alone.
func (r *Reader) namespace(t table) *netns {
	name, err := readlinkAt(t.process, "ns/net", r.link[:])
	if err != nil { // another process could be of any namespace: share nothing
		name = "process " + strconv.Itoa(t.process)
	}
	if r.namespaces == nil {
		r.namespaces = map[string]*netns{}
	}
	ns := r.namespaces[name]
	if ns == nil {
		ns = &netns{sockets: map[uint64]Socket{}, unread: socketTables()}
		if err == nil {
			r.namespaces[name] = ns
		}
	}
	return ns
}

// foreignSocket describes a socket of another process, by its inode.
func (r *Reader) foreignSocket(t *table, name string, inode uint64) *Socket {
	if t.netns == nil {
		t.netns = r.namespace(*t)
	}
	if socket, ok := t.netns.find(t.process, inode, r.big()); ok {
		return &socket
	}
	// The name of the protocol is an extended attribute of every socket (Linux 3.7).
	link := "/proc/self/fd/" + strconv.Itoa(t.links) + "/" + name
	n, err := unix.Getxattr(link, "system.sockprotoname", r.link[:])
	if err != nil {
		return &Socket{}
	}
	socket := socketOfProtocol(string(bytes.TrimRight(r.link[:n], "\x00")))
	return &socket
}

// ownSocket describes a socket of this process, by asking it. Nothing of it can be made up by others.
func ownSocket(fd int) *Socket {
	option := func(name int) int {
		value, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, name)
		if err != nil {
			return -1
		}
		return value
	}
	family := option(unix.SO_DOMAIN)
	socket := &Socket{Family: familyName(family), Type: typeName(option(unix.SO_TYPE))}
	socket.Protocol = protocolName(socket.Family, option(unix.SO_PROTOCOL))
	if local, err := unix.Getsockname(fd); err == nil {
		socket.Local = formatSockaddr(local)
	}
	peer, err := unix.Getpeername(fd)
	if err == nil {
		socket.Peer = formatSockaddr(peer)
	}
	if socket.Type == "raw" && (family == unix.AF_INET || family == unix.AF_INET6) {
		socket.Local, socket.Peer = withoutPort(socket.Local), withoutPort(socket.Peer)
	}
	socket.State = ownState(fd, socket, option(unix.SO_ACCEPTCONN) == 1, err == nil)
	return socket
}

func ownState(fd int, socket *Socket, listening, connected bool) string {
	switch {
	case listening:
		return StateListening
	case socket.Protocol == "tcp":
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			return tcpState(uint64(info.State))
		}
	case socket.Family == "netlink" || socket.Family == "packet" || socket.Family == "alg":
		return "" // getpeername answers, or not, for reasons of its own
	case connected:
		return "connected"
	}
	return "unconnected"
}

func formatSockaddr(address unix.Sockaddr) string {
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		return formatAddress(a.Addr[:], a.Port, "")
	case *unix.SockaddrInet6:
		zone := ""
		if a.ZoneId != 0 {
			zone = "%" + strconv.FormatUint(uint64(a.ZoneId), 10)
		}
		return formatAddress(a.Addr[:], a.Port, zone)
	case *unix.SockaddrUnix:
		if a.Name != "@" { // unnamed
			return a.Name
		}
	case *unix.SockaddrNetlink:
		return netlinkPort(a.Pid)
	case *unix.SockaddrLinklayer:
		return packetAddress(a.Protocol<<8|a.Protocol>>8, a.Ifindex)
	case *unix.SockaddrVM:
		if a.CID == unix.VMADDR_CID_ANY && a.Port == unix.VMADDR_PORT_ANY {
			return ""
		}
		return strconv.FormatUint(uint64(a.CID), 10) + ":" + strconv.FormatUint(uint64(a.Port), 10)
	}
	return ""
}
