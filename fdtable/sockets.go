package fdtable

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
)

// A Socket is what is known of a socket. Of another process's socket that /proc/PID/net doesn't show (an unbound one, or one of
// another network namespace) only the protocol is known, and what follows from it.
type Socket struct {
	Family   string // FamilyUNIX, "inet", "inet6", "netlink", "packet", "vsock", ...
	Type     string // "stream", "dgram", "raw", "rdm", "seqpacket", "packet"; empty where it isn't known
	Protocol string // "tcp", "udp", ...; of netlink "route", "audit", ...; empty where there is none
	State    string // StateListening, "connected", "unconnected", "connecting"; of TCP "established", "close-wait", ...
	Local    string // an address as host:port, a path, or @NAME for an abstract one; empty for none
	Peer     string
}

// FamilyUNIX is the Family of the sockets that can pass descriptors.
const FamilyUNIX = "unix"

// StateListening is the State of a socket that waits for connections.
const StateListening = "listening"

// String says it in one line: "tcp listening 127.0.0.1:80", "unix stream connected /run/x". It is Printable: UNIX sockets have
// names of their owners' choice.
func (s Socket) String() string {
	words := []string{s.Protocol}
	if s.Protocol != "tcp" && s.Protocol != "udp" {
		words = []string{s.Family, s.Type, s.Protocol}
	} else if s.Family == "inet6" {
		words[0] += "6"
	}
	words = append(words, s.State, Printable(s.Local))
	if s.Peer != "" {
		words = append(words, "->", Printable(s.Peer))
	}
	var text []byte
	for _, word := range words {
		if word != "" {
			text = append(append(text, word...), ' ')
		}
	}
	return string(bytes.TrimSuffix(text, []byte{' '}))
}

// The numbers of socket(2) are the same on amd64 and arm64 (MIPS is the exception).

func familyName(family int) string {
	switch family {
	case 1:
		return FamilyUNIX
	case 2:
		return "inet"
	case 10:
		return "inet6"
	case 15:
		return "key"
	case 16:
		return "netlink"
	case 17:
		return "packet"
	case 29:
		return "can"
	case 30:
		return "tipc"
	case 31:
		return "bluetooth"
	case 38:
		return "alg"
	case 40:
		return "vsock"
	case 43:
		return "smc"
	case 44:
		return "xdp"
	}
	return "family-" + strconv.Itoa(family)
}

func typeName(typ int) string {
	switch typ {
	case 1:
		return "stream"
	case 2:
		return "dgram"
	case 3:
		return "raw"
	case 4:
		return "rdm"
	case 5:
		return "seqpacket"
	case 10:
		return "packet"
	}
	return "type-" + strconv.Itoa(typ)
}

func protocolName(family string, protocol int) string {
	switch family {
	case "netlink":
		return netlinkName(protocol)
	case "inet", "inet6":
		return inetProtocolName(protocol)
	}
	return "" // the rest have one protocol, or numbers that say nothing
}

func inetProtocolName(protocol int) string {
	switch protocol {
	case 0:
		return ""
	case 1:
		return "icmp"
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 58:
		return "icmpv6"
	case 132:
		return "sctp"
	case 136:
		return "udplite"
	case 262:
		return "mptcp"
	}
	return "protocol-" + strconv.Itoa(protocol)
}

// netlinkNames are the protocols of netlink(7), by their numbers in linux/netlink.h.
var netlinkNames = [...]string{
	0: "route", 2: "usersock", 3: "firewall", 4: "sock-diag", 5: "nflog", 6: "xfrm", 7: "selinux", 8: "iscsi", 9: "audit",
	10: "fib-lookup", 11: "connector", 12: "netfilter", 15: "kobject-uevent", 16: "generic", 18: "scsi-transport",
	19: "ecryptfs", 20: "rdma", 21: "crypto", 22: "smc",
}

func netlinkName(protocol int) string {
	if protocol >= 0 && protocol < len(netlinkNames) && netlinkNames[protocol] != "" {
		return netlinkNames[protocol]
	}
	return "protocol-" + strconv.Itoa(protocol)
}

// tcpStates are the states of TCP, by their numbers in net/tcp_states.h.
var tcpStates = [...]string{
	1: "established", 2: "syn-sent", 3: "syn-received", 4: "fin-wait-1", 5: "fin-wait-2", 6: "time-wait", 7: "unconnected",
	8: "close-wait", 9: "last-ack", 10: StateListening, 11: "closing", 12: "syn-received",
}

func tcpState(state uint64) string {
	if state < uint64(len(tcpStates)) {
		return tcpStates[state]
	}
	return ""
}

// A socketTable is one file of /proc/PID/net: its name, and how a line of it reads.
type socketTable struct {
	file  string
	parse func(line string) (inode uint64, socket Socket, ok bool)
}

// socketTables are read in this order, until the socket is found. UNIX sockets come last because that table alone has text
// of others in it: a path with a newline could pass for a line, but not for a socket that an earlier table has.
func socketTables() []socketTable {
	inet := func(file, family, typ, protocol string) socketTable {
		return socketTable{file, func(line string) (uint64, Socket, bool) {
			return parseInetLine(line, Socket{Family: family, Type: typ, Protocol: protocol})
		}}
	}
	return []socketTable{
		inet("net/tcp", "inet", "stream", "tcp"), inet("net/tcp6", "inet6", "stream", "tcp"),
		inet("net/udp", "inet", "dgram", "udp"), inet("net/udp6", "inet6", "dgram", "udp"),
		{"net/netlink", parseNetlinkLine},
		{"net/packet", parsePacketLine},
		inet("net/raw", "inet", "raw", ""), inet("net/raw6", "inet6", "raw", ""),
		inet("net/icmp", "inet", "dgram", "icmp"), inet("net/icmp6", "inet6", "dgram", "icmpv6"),
		inet("net/udplite", "inet", "dgram", "udplite"), inet("net/udplite6", "inet6", "dgram", "udplite"),
		{"net/unix", parseUNIXLine},
	}
}

// parseSockets calls parse for each line of a table and collects what it finds. An inode that comes twice keeps its kind and
// loses its addresses: at most one of the two lines is the kernel's.
func parseSockets(data []byte, parse func(string) (uint64, Socket, bool), found map[uint64]Socket) {
	for len(data) > 0 {
		line, after, _ := bytes.Cut(data, []byte{'\n'})
		data = after
		inode, socket, ok := parse(string(line))
		if !ok || inode == 0 { // sockets without a descriptor have inode 0: TIME_WAIT, not yet accepted
			continue
		}
		if before, twice := found[inode]; twice && before != socket {
			before.Local, before.Peer = "", ""
			socket = before
		}
		found[inode] = socket
	}
}

// parseInetLine reads a line of /proc/net/tcp and its relatives:
//
//	sl local_address remote_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode ...
func parseInetLine(line string, socket Socket) (uint64, Socket, bool) {
	fields := strings.Fields(line)
	if len(fields) < 10 {
		return 0, socket, false
	}
	local, okLocal := parseHexAddress(fields[1])
	peer, okPeer := parseHexAddress(fields[2])
	state, err1 := strconv.ParseUint(fields[3], 16, 8)
	inode, err2 := strconv.ParseUint(fields[9], 10, 64)
	if !okLocal || !okPeer || err1 != nil || err2 != nil {
		return 0, socket, false
	}
	socket.Local, socket.Peer = local, peer
	socket.State = tcpState(state)
	if socket.Protocol != "tcp" && state == 1 {
		socket.State = "connected"
	}
	if socket.Type == "raw" { // the local "port" is the protocol
		socket = rawSocket(socket)
	}
	return inode, socket, true
}

func rawSocket(socket Socket) Socket {
	if colon := strings.LastIndexByte(socket.Local, ':'); colon >= 0 {
		protocol, _ := strconv.Atoi(socket.Local[colon+1:])
		socket.Protocol = inetProtocolName(protocol)
	}
	socket.Local = withoutPort(socket.Local)
	socket.Peer = withoutPort(socket.Peer)
	return socket
}

// withoutPort drops the port, and an address that says nothing.
func withoutPort(address string) string {
	colon := strings.LastIndexByte(address, ':')
	if colon < 0 {
		return address
	}
	host := strings.Trim(address[:colon], "[]")
	if host == "0.0.0.0" || host == "::" {
		return ""
	}
	return host
}

// parseHexAddress reads "0100007F:0050": 32-bit words as the machine has them in memory, each printed as a number, then the
// port. Nothing bound or connected gives the empty string.
func parseHexAddress(field string) (string, bool) {
	host, port, ok := strings.Cut(field, ":")
	number, err1 := strconv.ParseUint(port, 16, 16)
	if !ok || err1 != nil || (len(host) != 8 && len(host) != 32) {
		return "", false
	}
	var address []byte
	for word := host; len(word) > 0; word = word[8:] {
		value, err := strconv.ParseUint(word[:8], 16, 32)
		if err != nil {
			return "", false
		}
		address = binary.NativeEndian.AppendUint32(address, uint32(value))
	}
	return formatAddress(address, int(number), ""), true
}

// formatAddress writes an address of 4 or 16 bytes as host:port, and nothing for the unspecified address with port 0.
func formatAddress(address []byte, port int, zone string) string {
	if port == 0 && len(bytes.Trim(address, "\x00")) == 0 {
		return ""
	}
	host := formatIPv4(address)
	if len(address) == 16 {
		host = "[" + formatIPv6(address) + zone + "]"
	}
	return host + ":" + strconv.Itoa(port)
}

func formatIPv4(a []byte) string {
	text := make([]byte, 0, 15)
	for i, b := range a[:4] {
		if i > 0 {
			text = append(text, '.')
		}
		text = strconv.AppendUint(text, uint64(b), 10)
	}
	return string(text)
}

// formatIPv6 writes an address as RFC 5952 wants it: the longest run of two or more zero groups, the first of equals, as "::".
// (net/netip would do it, and cost every start of a program that imports this package.)
func formatIPv6(a []byte) string {
	if bytes.HasPrefix(a, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}) {
		return "::ffff:" + formatIPv4(a[12:])
	}
	from, length := longestZeros(a)
	text := make([]byte, 0, 39)
	for group := 0; group < 8; group++ {
		if group == from {
			text = append(text, "::"...)
			group += length - 1
			continue
		}
		if group > 0 && group != from+length {
			text = append(text, ':')
		}
		text = strconv.AppendUint(text, uint64(binary.BigEndian.Uint16(a[2*group:])), 16)
	}
	return string(text)
}

// longestZeros finds the run of zero groups that "::" stands for; from is -9 (and meets no group) where there is none.
func longestZeros(a []byte) (from, length int) {
	from, length = -9, 1
	run := 0
	for group := range 8 {
		if a[2*group] != 0 || a[2*group+1] != 0 {
			run = 0
			continue
		}
		run++
		if run > length {
			from, length = group-run+1, run
		}
	}
	return from, length
}

// parseUNIXLine reads a line of /proc/net/unix. The path is the rest of the line, blanks and all.
//
//	Num RefCount Protocol Flags Type St Inode Path
func parseUNIXLine(line string) (uint64, Socket, bool) {
	var fields [7]string
	rest := line
	for i := range fields {
		rest = strings.TrimLeft(rest, " ")
		fields[i], rest, _ = strings.Cut(rest, " ")
	}
	flags, err1 := strconv.ParseUint(fields[3], 16, 32)
	typ, err2 := strconv.ParseUint(fields[4], 16, 16)
	state, err3 := strconv.ParseUint(fields[5], 16, 8)
	inode, err4 := strconv.ParseUint(fields[6], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil || !strings.HasSuffix(fields[0], ":") {
		return 0, Socket{}, false
	}
	const acceptsConnections = 0x10000 // __SO_ACCEPTCON
	socket := Socket{Family: FamilyUNIX, Type: typeName(int(typ)), Local: rest}
	switch {
	case flags&acceptsConnections != 0:
		socket.State = StateListening
	case state == 1:
		socket.State = "unconnected"
	case state == 2:
		socket.State = "connecting"
	case state == 3:
		socket.State = "connected"
	case state == 4:
		socket.State = "closing"
	}
	return inode, socket, true
}

// parseNetlinkLine reads a line of /proc/net/netlink:
//
//	sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
func parseNetlinkLine(line string) (uint64, Socket, bool) {
	fields := strings.Fields(line)
	if len(fields) < 10 {
		return 0, Socket{}, false
	}
	protocol, err1 := strconv.Atoi(fields[1])
	port, err2 := strconv.ParseUint(fields[2], 10, 32)
	inode, err3 := strconv.ParseUint(fields[9], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return 0, Socket{}, false
	}
	// Raw and datagram are the same to netlink, and the table doesn't say which it was.
	return inode, Socket{Family: "netlink", Protocol: netlinkName(protocol), Local: netlinkPort(uint32(port))}, true
}

func netlinkPort(port uint32) string {
	if port == 0 {
		return ""
	}
	return "port " + strconv.FormatUint(uint64(port), 10)
}

// parsePacketLine reads a line of /proc/net/packet:
//
//	sk RefCnt Type Proto Iface R Rmem User Inode
func parsePacketLine(line string) (uint64, Socket, bool) {
	fields := strings.Fields(line)
	if len(fields) < 9 {
		return 0, Socket{}, false
	}
	typ, err1 := strconv.Atoi(fields[2])
	protocol, err2 := strconv.ParseUint(fields[3], 16, 16)
	index, err3 := strconv.Atoi(fields[4])
	inode, err4 := strconv.ParseUint(fields[8], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
		return 0, Socket{}, false
	}
	return inode, Socket{Family: "packet", Type: typeName(typ), Local: packetAddress(uint16(protocol), index)}, true
}

// packetAddress says which protocol of which interface a packet socket takes; nothing where it takes all.
func packetAddress(protocol uint16, index int) string {
	var words []string
	if protocol != 0 {
		words = append(words, "protocol 0x"+strconv.FormatUint(uint64(protocol), 16))
	}
	if index != 0 {
		words = append(words, "interface "+strconv.Itoa(index))
	}
	return strings.Join(words, " ")
}

// socketOfProtocol is what the name of a socket's protocol tells, the names being those of /proc/net/protocols.
func socketOfProtocol(name string) Socket {
	switch base, six := cutSix(name); base {
	case "TCP":
		return inetSocket(six, "stream", "tcp")
	case "MPTCP":
		return inetSocket(six, "stream", "mptcp")
	case "UDP":
		return inetSocket(six, "dgram", "udp")
	case "UDP-Lite", "UDPLITE":
		return inetSocket(six, "dgram", "udplite")
	case "PING":
		if six {
			return inetSocket(six, "dgram", "icmpv6")
		}
		return inetSocket(six, "dgram", "icmp")
	case "RAW":
		return inetSocket(six, "raw", "")
	case "SCTP":
		return inetSocket(six, "", "sctp")
	}
	switch name {
	case "UNIX":
		return Socket{Family: FamilyUNIX}
	case "UNIX-STREAM":
		return Socket{Family: FamilyUNIX, Type: "stream"}
	case "AF_VSOCK":
		return Socket{Family: "vsock"}
	}
	return Socket{Family: strings.ToLower(name)}
}

func inetSocket(six bool, typ, protocol string) Socket {
	if six {
		return Socket{Family: "inet6", Type: typ, Protocol: protocol}
	}
	return Socket{Family: "inet", Type: typ, Protocol: protocol}
}

func cutSix(name string) (base string, six bool) {
	for _, suffix := range []string{"v6", "V6"} {
		if base, six = strings.CutSuffix(name, suffix); six {
			return base, true
		}
	}
	return name, false
}
