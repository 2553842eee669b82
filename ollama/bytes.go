package ollama

import "fmt"

// Bytes is a number of bytes.
type Bytes int64

// String says it as people do: in megabytes, from 100 on in gigabytes.
func (b Bytes) String() string {
	if b < 1e8 {
		return fmt.Sprintf("%.1f MB", float64(b)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(b)/1e9)
}
