include $(sort $(wildcard $(BR2_EXTERNAL_VAKT_PATH)/package/*/*.mk))
