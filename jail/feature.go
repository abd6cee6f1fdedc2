package jail

// Feature is what one probe of the host found.
type Feature struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Detail is what the probe saw: a version, a limit, or the system's answer.
	Detail string `json:"detail,omitempty"`
	// Required features are those without which no contained build runs; what is lost without another one is in Lost.
	Required bool   `json:"required"`
	Lost     string `json:"lost,omitempty"`
	// Fix is the exact change that makes it work, and who can make it.
	Fix string `json:"fix,omitempty"`
}
