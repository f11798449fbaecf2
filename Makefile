# safeexec: make build, demo, test, bench, install. Everything that a fresh Debian or Ubuntu lacks is installed by
# scripts/need, which asks apt-get for what isn't there yet.

GO      ?= go
PREFIX  ?= /usr/local
DESTDIR ?=
BIN     ?= bin
MANUAL  ?= dist/manual
# The tag leaves out what urfave/cli would bring for documentation pages, and initialise at every start.
TAGS    := urfave_cli_no_docs
# A release's version. Without one it is what the go command takes from git.
VERSION ?=
STAMP   := $(if $(VERSION),-buildvcs=false -ldflags '-s -w -X main.release=$(VERSION)')

.PHONY: all build demo test lint unit user test-guard bench soak test-guest test-kernels manual deb rpm release test-release test-arm64 install clean

all: build

build: ## bin/safeexec, a static binary
	CGO_ENABLED=0 $(GO) build -trimpath -tags $(TAGS) $(STAMP) -o $(BIN)/safeexec ./cmd/safeexec

# Of the same definitions as --help. They have the binary's version and the last change's date.
manual: build ## the manual pages, and completion for bash, zsh and fish, in dist/manual
	SAFEEXEC_MANUAL=$(MANUAL) SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null || date +%s)} \
		SAFEEXEC_VERSION=$(or $(VERSION),$$($(GO) version -m $(BIN)/safeexec | awk '$$1 == "mod" { print $$3 }')) \
		GOOS= GOARCH= $(GO) run -tags $(TAGS),manual ./cmd/safeexec

demo: ## install what is missing, build, and show the main job on a shell with leaked descriptors
	scripts/need go
	$(MAKE) --no-print-directory build
	scripts/demo

test: ## install what is missing, then vet, lint and all tests with -race, as root and as an ordinary user
	scripts/need go gcc test container
	$(MAKE) --no-print-directory build lint unit user

lint:
	scripts/lint

unit:
	scripts/test

# The same tests as an ordinary user, when we are root and can become one.
user:
	scripts/test-as-user

# Whether nginx, PostgreSQL and their like work; takes ten minutes.
test-guard: ## real programs under every guard and denial; writes docs/guard-programs.md
	scripts/need go gcc guard
	cd tests && $(GO) test -count=1 -timeout 60m -run TestPrograms ./guard -full -write

bench: ## compare with the peers, all in one run; writes docs/bench-*.svg
	scripts/need go gcc bench
	$(MAKE) --no-print-directory build
	$(GO) run ./bench

soak: ## 200,000 starts with failures, cancellations and collections under way, and a million calls that race with a guard; takes minutes
	SAFEEXEC_SOAK=200000 $(GO) test -run 'TestSoak$$' -count=1 -v -timeout 0 ./spawn
	cd tests && SAFEEXEC_ROUNDS=50 $(GO) test -run 'TestDescription/(swaps|storm)' -count=1 -v -timeout 0 ./description

test-guest: ## what differs between kernels, and 32-bit programs, in a guest with the newest one; takes a minute or two
	scripts/need go guest
	PACKAGES='^safeexec/tests/(guest|seccomp)$$' scripts/kernels newest

test-kernels: ## the tests in guests with other kernels; KERNELS="6.1 newest" picks some; writes docs/kernels.md
	scripts/need go guest programs
	scripts/kernels $(KERNELS)

deb rpm: ## a package for Debian or for RPM, of this machine's architecture, in dist
	ARCHES=$$($(GO) env GOARCH) scripts/release dist/$@ $@

release: ## what is published, for amd64 and arm64: archives, packages, lists of contents and checksums, in dist/release
	rm -rf dist/release
	scripts/release dist/release

test-release: ## build the release twice, differently, and compare
	scripts/test-release

test-arm64: ## the tests for arm64: under an emulator of user space what that bears, the rest in a guest with an arm64 kernel
	scripts/need go arm64
	scripts/test-arm64

install: manual ## the binary, the manual pages and the completions, below DESTDIR and PREFIX
	install -D -m 755 $(BIN)/safeexec $(DESTDIR)$(PREFIX)/bin/safeexec
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 $(MANUAL)/man1/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -D -m 644 $(MANUAL)/bash/safeexec $(DESTDIR)$(PREFIX)/share/bash-completion/completions/safeexec
	install -D -m 644 $(MANUAL)/zsh/_safeexec $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_safeexec
	install -D -m 644 $(MANUAL)/fish/safeexec.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/safeexec.fish

clean:
	rm -rf bin dist
