// Package ofd works with open file descriptions: what stands behind descriptor numbers.
package ofd
