package spawn_test

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/safeexec/safeexec/spawn"
)

// TestNames: whatever os/exec exports, so does this package. The source says it, so that a new Go's names aren't missed.
func TestNames(t *testing.T) {
	std, err := build.Import("os/exec", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	own, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	names := exported(t, own)
	for _, name := range exported(t, std) {
		if !slices.Contains(names, name) {
			t.Errorf("exec.%s has no counterpart", name)
		}
	}
}

func exported(t *testing.T, pkg *build.Package) (names []string) {
	t.Helper()
	for _, file := range pkg.GoFiles {
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(pkg.Dir, file), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			for _, ident := range declared(decl) {
				if ident.IsExported() {
					names = append(names, ident.Name)
				}
			}
		}
	}
	if len(names) == 0 {
		t.Fatalf("no names in %s", pkg.Dir)
	}
	return names
}

func declared(decl ast.Decl) (idents []*ast.Ident) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			idents = append(idents, d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				idents = append(idents, s.Name)
			case *ast.ValueSpec:
				idents = append(idents, s.Names...)
			}
		}
	}
	return idents
}

// TestCmdType: each field of exec.Cmd has its counterpart of the same type, and each method one of the same signature.
func TestCmdType(t *testing.T) {
	std, own := reflect.TypeFor[exec.Cmd](), reflect.TypeFor[spawn.Cmd]()
	for _, want := range reflect.VisibleFields(std) {
		got, ok := own.FieldByName(want.Name)
		if want.IsExported() && (!ok || got.Type != want.Type) {
			t.Errorf("field %s %v: %v", want.Name, want.Type, got.Type)
		}
	}
	std, own = reflect.PointerTo(std), reflect.PointerTo(own)
	for i := range std.NumMethod() {
		want := std.Method(i)
		got, ok := own.MethodByName(want.Name)
		if !ok || signature(got) != signature(want) {
			t.Errorf("method %s %s: %s", want.Name, signature(want), signature(got))
		}
	}
}

// signature is a method's type without its receiver.
func signature(m reflect.Method) string {
	if m.Type == nil {
		return "none"
	}
	var in, out []reflect.Type
	for i := 1; i < m.Type.NumIn(); i++ {
		in = append(in, m.Type.In(i))
	}
	for i := range m.Type.NumOut() {
		out = append(out, m.Type.Out(i))
	}
	return reflect.FuncOf(in, out, m.Type.IsVariadic()).String()
}
