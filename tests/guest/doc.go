// Package guest tests what differs between kernels: it does each thing with the real command, checks that it comes out as the
// features of the running kernel promise, and tells how. It holds on any kernel; its directories init and run boot guests on
// several and make a page of what was seen.
package guest
