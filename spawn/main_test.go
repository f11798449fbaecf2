package spawn_test

import (
	"testing"

	"github.com/safeexec/safeexec/internal/proctest"
)

func TestMain(m *testing.M) {
	proctest.Main(m)
}
