// Package spawn starts programs with exactly the descriptors that are named.
package spawn
