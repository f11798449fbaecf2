package ofd

import (
	"encoding/binary"
	"errors"
)

// The control messages of a UNIX socket, as recvmsg(2) lays them out: a header of length (counting the header), level
// and type, then the data, padded to the size of a word. All of the product's architectures have words of eight bytes.
const (
	cmsgHeader = 16
	cmsgWord   = 8
	solSocket  = 1
	scmRights  = 1
	scmPidfd   = 4
)

// maxRights is the most descriptors that the kernel passes in one message (SCM_MAX_FD).
const maxRights = 253

var errControl = errors.New("a control message that isn't SCM_RIGHTS, or is malformed")

// parseRights gathers all descriptors that control messages brought, also where something is wrong with them: whoever
// closes them must know of every one. The error says that there was more than SCM_RIGHTS, or something else.
func parseRights(control []byte) (fds []int, err error) {
	for len(control) > 0 {
		if len(control) < cmsgHeader {
			return fds, errControl
		}
		length := binary.NativeEndian.Uint64(control)
		level := int32(binary.NativeEndian.Uint32(control[8:]))
		kind := int32(binary.NativeEndian.Uint32(control[12:]))
		if length < cmsgHeader || length > uint64(len(control)) {
			return fds, errControl
		}
		data := control[cmsgHeader:length]
		switch {
		case level == solSocket && kind == scmRights:
			fds, err = gather(fds, data, err)
		case level == solSocket && kind == scmPidfd:
			fds, _ = gather(fds, data, nil) // a descriptor too, which nobody asked for
			err = errControl
		default:
			err = errControl
		}
		control = control[min((length+cmsgWord-1)&^(cmsgWord-1), uint64(len(control))):]
	}
	return fds, err
}

func gather(fds []int, data []byte, err error) ([]int, error) {
	for ; len(data) >= 4; data = data[4:] {
		fds = append(fds, int(int32(binary.NativeEndian.Uint32(data))))
	}
	if len(data) > 0 {
		err = errControl
	}
	return fds, err
}

// rights makes the one control message that passes descriptors.
func rights(fds []int) []byte {
	length := cmsgHeader + 4*len(fds)
	control := make([]byte, (length+cmsgWord-1)&^(cmsgWord-1))
	binary.NativeEndian.PutUint64(control, uint64(length))
	binary.NativeEndian.PutUint32(control[8:], solSocket)
	binary.NativeEndian.PutUint32(control[12:], scmRights)
	for i, fd := range fds {
		binary.NativeEndian.PutUint32(control[cmsgHeader+4*i:], uint32(fd))
	}
	return control
}
