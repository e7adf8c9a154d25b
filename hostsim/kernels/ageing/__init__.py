"""Page ageing over arrays: active and inactive lists, generations (MGLRU), idle-page tracking."""
