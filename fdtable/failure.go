package fdtable

// A failure is an error with words before it, as fmt.Errorf with %w would make it, but for any number of errors.
type failure struct {
	what   string
	errors []error
}

// failed puts words before errors, which errors.Is and errors.As find.
func failed(what string, errors ...error) error { return &failure{what, errors} }

func (f *failure) Error() string {
	text := f.what
	for _, err := range f.errors {
		if text != "" {
			text += ": "
		}
		text += err.Error()
	}
	return text
}

func (f *failure) Unwrap() []error { return f.errors }
