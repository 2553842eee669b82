package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Size is a number of bytes, written plain, with KiB, MiB or GiB, or with kB, MB or GB.
type Size int64

// UnmarshalText reads "16MiB", "4096" and the like.
func (s *Size) UnmarshalText(text []byte) error {
	digits, unit := string(text), int64(1)
	for suffix, n := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9} {
		if rest, ok := strings.CutSuffix(digits, suffix); ok {
			digits, unit = strings.TrimSpace(rest), n
		}
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil {
		return fmt.Errorf("%q is not a size: write 4096, 512KiB, 16MiB, 64MB or 1GiB", text)
	}
	*s = Size(n * unit)
	return nil
}

// MarshalText writes the size as people do.
func (s Size) MarshalText() ([]byte, error) {
	if s%(1<<20) == 0 {
		return fmt.Appendf(nil, "%dMiB", s>>20), nil
	}
	return fmt.Appendf(nil, "%d", s), nil
}

// CacheSize is a Size that may be 0: then nothing is kept.
type CacheSize int64

// UnmarshalText reads what a Size is.
func (s *CacheSize) UnmarshalText(text []byte) error { return (*Size)(s).UnmarshalText(text) }

// MarshalText writes the size as people do.
func (s CacheSize) MarshalText() ([]byte, error) {
	if s == 0 {
		return []byte("0"), nil
	}
	return Size(s).MarshalText()
}
