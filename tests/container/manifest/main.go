// Command manifest reads manifests from standard input, with lines of three hyphens between, decodes each strictly as the type
// of Kubernetes' that it says it is, and writes them as one JSON list. A field that the type doesn't have, or twice, ends it
// with status 1. It is a program of its own because Kubernetes' types take minutes to compile for the race detector.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

func main() {
	if err := decode(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func decode(in io.Reader, out io.Writer) error {
	text, err := io.ReadAll(in)
	scheme := runtime.NewScheme()
	if err := errors.Join(err, corev1.AddToScheme(scheme), appsv1.AddToScheme(scheme)); err != nil {
		return err
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	var objects []runtime.Object
	for _, manifest := range strings.Split(string(text), "\n---\n") {
		object, _, err := decoder.Decode([]byte(manifest), nil, nil)
		if err != nil {
			return fmt.Errorf("%w in\n%s", err, manifest)
		}
		objects = append(objects, object)
	}
	return json.NewEncoder(out).Encode(objects)
}
