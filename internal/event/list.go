package event

import "strings"

// Headers with several items separate them by commas. In an item, comma and percent sign are written as %2C and %25
// (metrics may have any name); an empty item is written as %.

// HasFlag tells whether a comma-separated header contains an item.
func HasFlag(flags, flag string) bool {
	if flag == "" || strings.ContainsAny(flag, ",%") {
		flag = string(appendEscaped(nil, flag))
	}
	for flags != "" {
		var item string
		if item, flags, _ = strings.Cut(flags, ","); item == flag {
			return true
		}
	}
	return false
}

// AppendItem appends an item to a comma-separated header.
func AppendItem(list []byte, item string) []byte {
	if len(list) > 0 {
		list = append(list, ',')
	}
	return appendEscaped(list, item)
}

// Items returns the items of a comma-separated header.
func Items(list string) []string {
	if list == "" {
		return nil
	}
	items := strings.Split(list, ",")
	if strings.IndexByte(list, '%') >= 0 {
		unescape := strings.NewReplacer("%2C", ",", "%25", "%")
		for i := range items {
			if items[i] == "%" {
				items[i] = ""
			}
			items[i] = unescape.Replace(items[i])
		}
	}
	return items
}

func appendEscaped(list []byte, item string) []byte {
	if item == "" {
		return append(list, '%')
	}
	for i := 0; i < len(item); i++ {
		switch c := item[i]; c {
		case ',':
			list = append(list, "%2C"...)
		case '%':
			list = append(list, "%25"...)
		default:
			list = append(list, c)
		}
	}
	return list
}
